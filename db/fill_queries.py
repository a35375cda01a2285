"""What the fill book says: how much of a trade is executed, and which of the broker's records it has."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import fills
from domain.fills import Fill
from domain.money import Lots, Price

# A close by an opposite position makes a fill on each of the two; the lots are those of its own.
_EXECUTED = text("""
    SELECT coalesce(sum(volume) FILTER (WHERE kind = 'trade'), 0) AS volume,
           sum(volume * price) FILTER (WHERE kind = 'trade')
               / nullif(sum(volume) FILTER (WHERE kind = 'trade'), 0) AS price,
           coalesce(sum(volume) FILTER (WHERE kind = 'cancelled'), 0) AS cancelled
    FROM (SELECT DISTINCT ON (f.ticket) f.volume, f.price, f.kind
          FROM fills f JOIN trade_ledger t ON t.id = f.trade_id
          WHERE f.trade_id = :trade_id AND f.position_id IS DISTINCT FROM t.close_by_position_id
          ORDER BY f.ticket, f.revision DESC) f
""")

_NOT_AS_BOOKED = text("""
    SELECT r.ticket
    FROM unnest(CAST(:tickets AS bigint[]), CAST(:hashes AS text[])) AS r (ticket, content_hash)
    LEFT JOIN LATERAL (
        SELECT content_hash FROM fills f WHERE f.account_id = :account_id AND f.ticket = r.ticket
        ORDER BY f.revision DESC LIMIT 1
    ) f ON true
    WHERE f.content_hash IS DISTINCT FROM r.content_hash
""")

_FEED_START = text("""
    SELECT least(
        now() - CAST(:window AS interval),
        (SELECT max(executed_at) FROM fills WHERE account_id = :account_id) - CAST(:window AS interval),
        (SELECT min(received_at) FROM trade_ledger WHERE account_id = :account_id AND closed_at IS NULL)
    )
""")


@dataclass(frozen=True, kw_only=True)
class Executed:
    """What is booked for a trade's orders: lots, their average price, and lots that the broker cancelled again."""

    volume: Lots
    price: Price | None
    cancelled: Lots


async def unbooked(connection: AsyncConnection, account_id: UUID, tickets: Collection[int]) -> set[int]:
    """Those of the tickets that the books do not have."""
    query = select(fills.c.ticket).where(fills.c.account_id == account_id, fills.c.ticket.in_(tickets))
    return set(tickets) - set((await connection.scalars(query)).all())


async def not_as_booked(
    connection: AsyncConnection, account_id: UUID, records: Collection[Fill]
) -> tuple[Fill, ...]:
    """Those of the records that the books do not have, or have with another content."""
    shown = {"tickets": [fill.ticket for fill in records], "hashes": [fill.content_hash for fill in records]}
    found = await connection.scalars(_NOT_AS_BOOKED, {"account_id": account_id, **shown})
    tickets = set(found.all())
    return tuple(fill for fill in records if fill.ticket in tickets)


async def count_tickets(connection: AsyncConnection, account_id: UUID) -> int:
    """How many records of the broker's history the books have."""
    query = select(func.count()).where(fills.c.account_id == account_id, fills.c.revision == 1)
    return int(await connection.scalar(query) or 0)


async def executed(connection: AsyncConnection, trade_id: UUID) -> Executed:
    row = (await connection.execute(_EXECUTED, {"trade_id": trade_id})).one()
    return Executed(
        volume=Lots(row.volume),
        price=None if row.price is None else Price(row.price),
        cancelled=Lots(row.cancelled),
    )


async def feed_start(connection: AsyncConnection, account_id: UUID, *, window: timedelta) -> datetime:
    """From where a feed that was away has to read: behind the newest fill booked and the oldest open trade."""
    start: datetime = await connection.scalar(_FEED_START, {"account_id": account_id, "window": window})
    return start
