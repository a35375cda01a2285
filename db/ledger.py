"""Double entry: the lines of one event sum to zero per currency, and an event is posted once under its id."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.accounts import Account
from db.jsons import dumps
from domain.attribution import Allocation
from domain.fills import Fill
from domain.money import ZERO
from domain.settlement import LedgerLine, entries

# An account is made on first use; the user who owns a line is the one of its trade.
_POST = text("""
    WITH owned AS (
        SELECT l.*, t.user_id
        FROM json_to_recordset(CAST(:lines AS json)) AS l(
            line int, code text, amount numeric, trade_id uuid, description text)
        LEFT JOIN trade_ledger t ON t.id = l.trade_id
    ), made AS (
        INSERT INTO ledger_accounts (account_id, user_id, code, currency)
        SELECT DISTINCT CAST(:account_id AS uuid), o.user_id, o.code, CAST(:currency AS text) FROM owned o
        WHERE NOT EXISTS (SELECT 1 FROM ledger_accounts l WHERE l.account_id = :account_id
            AND l.user_id IS NOT DISTINCT FROM o.user_id AND l.code = o.code AND l.currency = :currency)
        ON CONFLICT DO NOTHING
        RETURNING id, user_id, code
    ), target AS (
        SELECT id, user_id, code FROM made
        UNION ALL
        SELECT id, user_id, code FROM ledger_accounts WHERE account_id = :account_id AND currency = :currency
    )
    INSERT INTO ledger_entries
        (event_id, line, ledger_account_id, currency, amount, fill_id, trade_id, description)
    SELECT :event_id, o.line, target.id, :currency, o.amount, :fill_id, o.trade_id, o.description
    FROM owned o JOIN target ON target.code = o.code AND target.user_id IS NOT DISTINCT FROM o.user_id
    ORDER BY o.line
""")

_IS_POSTED = text("SELECT EXISTS (SELECT FROM ledger_entries WHERE event_id = :event_id)")

_REVERSE = text("""
    INSERT INTO ledger_entries (event_id, line, ledger_account_id, currency, amount, fill_id, trade_id,
                                reverses_event_id, description)
    SELECT :into, line, ledger_account_id, currency, -amount, :fill_id, trade_id, event_id,
           'reversal of ' || description
    FROM ledger_entries WHERE event_id = :event_id
""")


async def post(
    connection: AsyncConnection,
    account: Account,
    event_id: UUID,
    *,
    fill: Fill,
    fill_id: int,
    lines: Sequence[Allocation],
) -> None:
    """Post the money of a fill; the caller holds the account's booking queue."""
    await post_lines(connection, account, event_id, lines=entries(fill, lines), fill_id=fill_id)


async def post_lines(
    connection: AsyncConnection,
    account: Account,
    event_id: UUID,
    *,
    lines: Sequence[LedgerLine],
    fill_id: int | None,
) -> None:
    """Post the lines of one event, which sum to zero; none are no event."""
    assert sum((line.amount for line in lines), ZERO) == 0, "the lines of an event sum to zero"
    posted = [
        {
            "line": number,
            "code": line.account,
            "amount": line.amount,
            "trade_id": line.trade_id,
            "description": line.description,
        }
        for number, line in enumerate(lines, start=1)
    ]
    if posted:
        await connection.execute(
            _POST,
            {
                "event_id": event_id,
                "account_id": account.id,
                "currency": account.currency,
                "fill_id": fill_id,
                "lines": dumps(posted),
            },
        )


async def is_posted(connection: AsyncConnection, event_id: UUID) -> bool:
    return bool(await connection.scalar(_IS_POSTED, {"event_id": event_id}))


async def reverse(connection: AsyncConnection, event_id: UUID, *, into: UUID, fill_id: int | None) -> None:
    """Take back every line of an event by a new event; nothing if it had none."""
    await connection.execute(_REVERSE, {"event_id": event_id, "into": into, "fill_id": fill_id})
