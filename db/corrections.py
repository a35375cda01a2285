"""Corrections: what the broker shows and no record explains, entered into the books, and taken back once one does.

1. A correction is a new event with an id of its own difference: made twice it is made once.
2. A record that comes late was in what was compared, so it takes the correction back in its own transaction; what
   then still differs is found anew.
"""

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import ledger
from db.accounts import Account
from db.journal import record
from domain.fills import Fill, FillSource
from domain.money import Price
from domain.reconciliation import DifferenceKind, taken_back_id
from domain.settlement import CASH, CREDIT, OPENING, UNEXPLAINED, LedgerLine

_ADJUST = text("""
    INSERT INTO position_adjustments (id, account_id, position_id, symbol, lots, price, discrepancy_id)
    VALUES (:id, :account_id, :position_id, :symbol, :lots, :price, :discrepancy_id)
    ON CONFLICT (id) DO NOTHING
""")
# What stands in the books in place of a record that came too late for a run; `seen_at` is when it was read. What a
# person has accepted gives way only to the record of that very sum.
_IN_PLACE_OF = text("""
    SELECT d.id, d.event_id, a.id AS adjustment_id, a.symbol, a.lots, a.price, a.position_id
    FROM discrepancies d
    LEFT JOIN position_adjustments a ON a.discrepancy_id = d.id
    WHERE d.account_id = :account_id AND d.state IN ('corrected', 'accepted', 'adopted')
        AND d.seen_at >= :executed_at
        AND ((d.event_id IS NOT NULL AND :cash <> 0 AND (d.state = 'corrected' OR d.theirs - d.ours = :cash))
             OR a.position_id = :position_id)
    ORDER BY d.id
    FOR UPDATE OF d
""")
_EXPLAIN = text("""
    UPDATE discrepancies SET state = 'explained', cause = 'late_deal', cause_ticket = :ticket
    WHERE id = :id
""")


async def correct_money(
    connection: AsyncConnection,
    account: Account,
    *,
    kind: DifferenceKind,
    amount: Decimal,
    event_id: UUID,
    why: str,
) -> None:
    """Enter what the broker has more of money than the books, as unexplained."""
    await _enter(connection, account, kind=kind, amount=amount, event_id=event_id, against=UNEXPLAINED, why=why)


async def open_money(
    connection: AsyncConnection, account: Account, *, kind: DifferenceKind, amount: Decimal, event_id: UUID
) -> None:
    """Enter what the account had before the first of its records that we read."""
    why = f"opening {kind}"
    await _enter(connection, account, kind=kind, amount=amount, event_id=event_id, against=OPENING, why=why)


async def adjust_position(
    connection: AsyncConnection,
    account: Account,
    *,
    position_id: int,
    symbol: str,
    lots: Decimal,
    price: Price | None,
    discrepancy_id: UUID | None,
) -> None:
    """Take a position as the broker shows it, by signed lots beside what the fills say."""
    await connection.execute(
        _ADJUST,
        {
            "id": uuid5(discrepancy_id or account.id, f"adjustment:{position_id}:{lots.normalize()}"),
            "account_id": account.id,
            "position_id": position_id,
            "symbol": symbol,
            "lots": lots,
            "price": price,
            "discrepancy_id": discrepancy_id,
        },
    )


async def take_back(connection: AsyncConnection, account: Account, fill: Fill, *, source: FillSource) -> None:
    """Take back what was entered in place of this record; the caller books it in the same transaction."""
    if source in {FillSource.SUBMIT, FillSource.ATTRIBUTION}:
        # The answer of a send is no older than the send, and an attribution moves no money of the account.
        return
    late = {
        "account_id": account.id,
        "executed_at": fill.executed_at,
        "cash": fill.cash,
        "position_id": fill.position_id,
    }
    for row in (await connection.execute(_IN_PLACE_OF, late)).mappings().all():
        if row["adjustment_id"] is not None:
            await connection.execute(
                _ADJUST,
                {
                    "id": taken_back_id(row["adjustment_id"]),
                    "account_id": account.id,
                    "position_id": row["position_id"],
                    "symbol": row["symbol"],
                    "lots": -row["lots"],
                    "price": row["price"],
                    "discrepancy_id": None,
                },
            )
        if row["event_id"] is not None:
            await ledger.reverse(connection, row["event_id"], into=taken_back_id(row["event_id"]), fill_id=None)
        await connection.execute(_EXPLAIN, {"id": row["id"], "ticket": fill.ticket})
        detail: dict[str, Any] = {"ticket": fill.ticket, "event_id": row["event_id"]}
        await record(
            connection,
            "discrepancy.taken_back",
            actor="broker",
            subject=f"discrepancy:{row['id']}",
            detail=detail,
            account_id=account.id,
        )


async def _enter(
    connection: AsyncConnection,
    account: Account,
    *,
    kind: DifferenceKind,
    amount: Decimal,
    event_id: UUID,
    against: str,
    why: str,
) -> None:
    # Credit is no balance: what the account gains of it, it owes to the broker.
    other = CREDIT if kind is DifferenceKind.CREDIT else against
    lines = (
        LedgerLine(account=CASH, trade_id=None, amount=amount, description=why),
        LedgerLine(account=other, trade_id=None, amount=-amount, description=why),
    )
    await ledger.post_lines(connection, account, event_id, lines=lines, fill_id=None)
