"""Double entry: the lines of one event sum to zero per currency, and an event is posted once under its id."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.accounts import Account
from domain.attribution import Allocation
from domain.fills import Fill
from domain.settlement import entries

# The account is made on first use; the user who owns a line is the one of its trade.
_POST = text("""
    WITH owner AS (
        SELECT (SELECT user_id FROM trade_ledger WHERE id = :trade_id) AS user_id
    ), made AS (
        INSERT INTO ledger_accounts (account_id, user_id, code, currency)
        SELECT :account_id, owner.user_id, :code, :currency FROM owner
        WHERE NOT EXISTS (SELECT 1 FROM ledger_accounts l, owner WHERE l.account_id = :account_id
            AND l.user_id IS NOT DISTINCT FROM owner.user_id AND l.code = :code AND l.currency = :currency)
        ON CONFLICT DO NOTHING
        RETURNING id
    ), target AS (
        SELECT id FROM made
        UNION ALL
        SELECT l.id FROM ledger_accounts l, owner WHERE l.account_id = :account_id
            AND l.user_id IS NOT DISTINCT FROM owner.user_id AND l.code = :code AND l.currency = :currency
    )
    INSERT INTO ledger_entries
        (event_id, line, ledger_account_id, currency, amount, fill_id, trade_id, description)
    SELECT :event_id, :line, target.id, :currency, :amount, :fill_id, :trade_id, :description FROM target
""")

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
    for number, line in enumerate(entries(fill, lines), start=1):
        await connection.execute(
            _POST,
            {
                "event_id": event_id,
                "line": number,
                "account_id": account.id,
                "code": line.account,
                "currency": account.currency,
                "amount": line.amount,
                "fill_id": fill_id,
                "trade_id": line.trade_id,
                "description": line.description,
            },
        )


async def reverse(connection: AsyncConnection, event_id: UUID, *, into: UUID, fill_id: int) -> None:
    """Take back every line of an event by a new event; nothing if it had none."""
    await connection.execute(_REVERSE, {"event_id": event_id, "into": into, "fill_id": fill_id})
