"""Trades found by what others know of them, each locked until the transaction ends."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import trade_ledger
from db.trades import Trade, trade_of

# All rows are locked, by account, before the function takes queues and totals: the sort waits for the last one.
_LOCK_TO_RESERVE = text("""
    SELECT t.*, begin_reserving(t.id, t.account_id, t.user_id, t.state) AS reserved
    FROM (
        SELECT * FROM (
            SELECT * FROM trade_ledger WHERE id = ANY(CAST(:trade_ids AS uuid[]))
            ORDER BY account_id, id FOR UPDATE
        ) locked ORDER BY account_id, id OFFSET 0
    ) t
""")
_LOCK_BY_MAGIC = (
    select(trade_ledger)
    .where(trade_ledger.c.account_id == bindparam("account_id"), trade_ledger.c.magic == bindparam("magic"))
    .with_for_update()
)
_LOCK_BY_ORDER = (
    select(trade_ledger)
    .where(
        trade_ledger.c.account_id == bindparam("account_id"),
        trade_ledger.c.broker_order_id == bindparam("order_id"),
    )
    .with_for_update()
)
_LOCK_MAKERS = text("""
    SELECT id FROM trade_ledger
    WHERE account_id = :account_id
        AND (magic = ANY(CAST(:magics AS bigint[])) OR broker_order_id = ANY(CAST(:order_ids AS bigint[])))
    ORDER BY id FOR UPDATE
""")


async def lock_to_reserve(
    connection: AsyncConnection, trade_ids: Sequence[UUID]
) -> dict[UUID, tuple[Trade, bool]]:
    """Lock the trades and all that reservations of pending ones add to; whether each has a reservation already.

    A trade that is not in the books is not in the answer.
    """
    rows = (await connection.execute(_LOCK_TO_RESERVE, {"trade_ids": list(trade_ids)})).mappings()
    return {row["id"]: (trade_of(row), bool(row["reserved"])) for row in rows}


async def find_by_magic(connection: AsyncConnection, account_id: UUID, magic: int) -> Trade | None:
    """The trade that sends under `magic`, locked; None if the number is not ours."""
    found = await connection.execute(_LOCK_BY_MAGIC, {"account_id": account_id, "magic": magic})
    row = found.mappings().one_or_none()
    return None if row is None else trade_of(row)


async def find_by_order(connection: AsyncConnection, account_id: UUID, broker_order_id: int) -> Trade | None:
    """The trade that owns the broker's order, locked; None if none of ours does."""
    if broker_order_id == 0:
        return None
    found = await connection.execute(_LOCK_BY_ORDER, {"account_id": account_id, "order_id": broker_order_id})
    row = found.mappings().one_or_none()
    return None if row is None else trade_of(row)


async def lock_makers(
    connection: AsyncConnection, account_id: UUID, *, magics: set[int], broker_order_ids: set[int]
) -> None:
    """Lock every trade that sent under one of the numbers, in one order for all, before any total is touched."""
    await connection.execute(
        _LOCK_MAKERS,
        {"account_id": account_id, "magics": sorted(magics), "order_ids": sorted(broker_order_ids)},
    )
