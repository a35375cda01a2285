"""The fill book: every record of the broker once, allocated in full, its money posted in the same transaction."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import ledger, trades
from db.accounts import Account
from db.journal import record
from db.jsons import dumps
from db.tables import fill_allocations, fills
from domain.attribution import Allocation, AllocationRole, Opener, allocate, covered
from domain.fills import Entry, Fill, FillReason
from domain.money import Lots, Price
from domain.settlement import event_id, reversal_id

_OPENERS = text("""
    SELECT a.trade_id,
           sum(CASE a.role WHEN 'open' THEN a.volume WHEN 'close' THEN -a.volume ELSE 0 END) AS volume
    FROM fill_allocations a JOIN fills f ON f.id = a.fill_id
    WHERE f.account_id = :account_id AND f.position_id = :position_id
    GROUP BY a.trade_id
    HAVING bool_or(a.role = 'open')
    ORDER BY min(f.executed_at) FILTER (WHERE a.role = 'open'), min(f.id)
""")

_DAILY = text("""
    INSERT INTO user_daily_stats AS s
        (account_id, user_id, day, currency, profit, commission, swap, fee, fill_count)
    SELECT :account_id, t.user_id, (CAST(:at AS timestamptz) AT TIME ZONE b.day_zone)::date, b.currency,
           :profit, :commission, :swap, :fee, 1
    FROM trade_ledger t JOIN broker_accounts b ON b.id = t.account_id WHERE t.id = :trade_id
    ON CONFLICT (account_id, user_id, day) DO UPDATE SET
        profit = s.profit + excluded.profit, commission = s.commission + excluded.commission,
        swap = s.swap + excluded.swap, fee = s.fee + excluded.fee, fill_count = s.fill_count + 1
""")

_BOOKED = text("""
    SELECT id, revision, content_hash, trade_id FROM fills
    WHERE account_id = :account_id AND ticket = :ticket ORDER BY revision DESC LIMIT 1
""")

# The lines come as JSON, so that a fill and its allocation are one statement.
_BOOK = text("""
    WITH booked AS (
        INSERT INTO fills
            (account_id, ticket, revision, content_hash, trade_id, broker_order_id, position_id, magic, symbol,
             side, kind, entry, reason, volume, price, commission, swap, fee, profit, currency, comment,
             executed_at, source)
        VALUES (:account_id, :ticket, :revision, :content_hash, :maker, :broker_order_id, :position_id, :magic,
                :symbol, :side, :kind, :entry, :reason, :volume, :price, :commission, :swap, :fee, :profit,
                :currency, :comment, :executed_at, :source)
        RETURNING id
    ), allocated AS (
        INSERT INTO fill_allocations (fill_id, line, trade_id, owner, role, volume, profit, commission, swap, fee)
        SELECT booked.id, l.line, l.trade_id, CASE WHEN l.trade_id IS NULL THEN 'external' ELSE 'trade' END,
               l.role, l.volume, l.profit, l.commission, l.swap, l.fee
        FROM booked CROSS JOIN json_to_recordset(CAST(:lines AS json)) AS l(
            line int, trade_id uuid, role text, volume numeric, profit numeric, commission numeric, swap numeric,
            fee numeric)
    )
    SELECT id FROM booked
""")

_STANDING = (
    select(fill_allocations)
    .join(fills, fills.c.id == fill_allocations.c.fill_id)
    .where(fills.c.account_id == bindparam("account_id"), fills.c.ticket == bindparam("ticket"))
    .order_by(fills.c.revision, fill_allocations.c.line)
)

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


class Orphans(StrEnum):
    """What becomes of a fill whose trade or openers the books do not know: it waits for them, or is nobody's.

    STRANGERS_WAIT books one that misses its openers, but not one under a number of ours that no trade has.
    """

    WAIT = "wait"
    STRANGERS_WAIT = "strangers_wait"
    BOOK = "book"


@dataclass(frozen=True, kw_only=True)
class Executed:
    """What is booked for a trade's orders: lots, their average price, and lots that the broker cancelled again."""

    volume: Lots
    price: Price | None
    cancelled: Lots


@dataclass(frozen=True, kw_only=True)
class Booked:
    """A newly booked fill and the trade whose order made it."""

    fill_id: int
    fill: Fill
    trade_id: UUID | None


async def book(
    connection: AsyncConnection,
    account: Account,
    fill: Fill,
    *,
    maker: UUID | None,
    source: str,
    orphans: Orphans,
) -> Booked | None:
    """Book a record of the broker once; None if this very content is booked, or if it waits for its openers.

    The caller holds the account's booking queue. A changed record becomes a new revision that takes back the
    lines and the money of the one before.
    """
    known = await connection.execute(_BOOKED, {"account_id": account.id, "ticket": fill.ticket})
    before = known.mappings().one_or_none()
    if before is not None and (before["content_hash"] == fill.content_hash or source != "feed"):
        # Only the feed reads in order: an answer read earlier may come to the books later.
        return None
    openers = await _openers(connection, account.id, fill)
    if before is None and orphans is Orphans.WAIT and not covered(fill, openers):
        return None
    revision = 1 if before is None else before["revision"] + 1
    if maker is None and before is not None:
        maker = before["trade_id"]
    taken_back: tuple[Allocation, ...] = ()
    if before is not None:
        taken_back = tuple(line.reversed() for line in await _allocations(connection, account.id, fill.ticket))
        openers = _restored(openers, taken_back)
    allocations = allocate(fill, maker=maker, openers=openers)
    lines = (*taken_back, *allocations)
    fill_id = await _insert(connection, account, fill, revision=revision, maker=maker, source=source, lines=lines)
    for line in lines:
        await _count(connection, account, fill.executed_at, line)
    if before is not None:
        await ledger.reverse(
            connection,
            event_id(account.id, fill.ticket, revision - 1),
            into=reversal_id(account.id, fill.ticket, revision - 1),
            fill_id=fill_id,
        )
    event = event_id(account.id, fill.ticket, revision)
    await ledger.post(connection, account, event, fill=fill, fill_id=fill_id, lines=allocations)
    await record(
        connection,
        "fill.booked" if revision == 1 else "fill.corrected",
        actor="broker",
        subject=f"fill:{fill.ticket}",
        detail={"fill": fill, "revision": revision, "source": source},
        account_id=account.id,
        trade_id=maker,
    )
    return Booked(fill_id=fill_id, fill=fill, trade_id=maker)


async def unbooked(connection: AsyncConnection, account_id: UUID, tickets: Collection[int]) -> set[int]:
    """Those of the tickets that the books do not have."""
    query = select(fills.c.ticket).where(fills.c.account_id == account_id, fills.c.ticket.in_(tickets))
    return set(tickets) - set((await connection.scalars(query)).all())


async def executed(connection: AsyncConnection, trade_id: UUID) -> Executed:
    row = (await connection.execute(_EXECUTED, {"trade_id": trade_id})).one()
    return Executed(
        volume=Lots(row.volume),
        price=None if row.price is None else Price(row.price),
        cancelled=Lots(row.cancelled),
    )


async def maker_of(connection: AsyncConnection, account_id: UUID, fill: Fill) -> trades.Trade | None:
    """The trade whose order made the fill, locked: by its magic, else by its order number.

    An exit that the broker made itself (a stop, a stop-out) may carry the magic of the order that opened the
    position, so only the number of the order tells such exits from ours.
    """
    trade = await trades.find_by_magic(connection, account_id, fill.magic) if fill.magic else None
    if trade is None:
        return await trades.find_by_order(connection, account_id, fill.broker_order_id)
    exits = {FillReason.STOP_LOSS, FillReason.TAKE_PROFIT, FillReason.STOP_OUT}
    if fill.reason in exits or (fill.entry is not Entry.IN and not trade.intent.reducing and _later(trade, fill)):
        return None
    return trade


def _later(trade: trades.Trade, fill: Fill) -> bool:
    order_id = trade.progress.broker_order_id
    return order_id is not None and fill.broker_order_id != order_id


async def _openers(connection: AsyncConnection, account_id: UUID, fill: Fill) -> tuple[Opener, ...]:
    if fill.position_id == 0 or fill.entry is Entry.IN:
        return ()
    rows = await connection.execute(_OPENERS, {"account_id": account_id, "position_id": fill.position_id})
    return tuple(Opener(trade_id=row.trade_id, volume=Lots(row.volume)) for row in rows)


def _restored(openers: Sequence[Opener], taken_back: Sequence[Allocation]) -> tuple[Opener, ...]:
    """The openers as they were before the lines that are now taken back."""
    closed = {line.trade_id: -line.volume for line in taken_back if line.role is AllocationRole.CLOSE}
    return tuple(Opener(trade_id=o.trade_id, volume=Lots(o.volume + closed.get(o.trade_id, 0))) for o in openers)


async def _insert(
    connection: AsyncConnection,
    account: Account,
    fill: Fill,
    *,
    revision: int,
    maker: UUID | None,
    source: str,
    lines: Sequence[Allocation],
) -> int:
    booked = await connection.scalar(
        _BOOK,
        {
            **vars(fill),
            "account_id": account.id,
            "currency": account.currency,
            "revision": revision,
            "content_hash": fill.content_hash,
            "maker": maker,
            "source": source,
            "lines": dumps([{"line": number, **vars(line)} for number, line in enumerate(lines, start=1)]),
        },
    )
    return int(booked)


async def _allocations(connection: AsyncConnection, account_id: UUID, ticket: int) -> list[Allocation]:
    """The lines of a ticket's newest revision that is allocated, as they stand."""
    standing: dict[tuple[UUID | None, AllocationRole], Allocation] = {}
    found = await connection.execute(_STANDING, {"account_id": account_id, "ticket": ticket})
    for row in found.mappings():
        line = _allocation(row)
        known = standing.get((line.trade_id, line.role))
        standing[line.trade_id, line.role] = line if known is None else _sum(known, line)
    return [line for line in standing.values() if line != _sum(line, line.reversed())]


def _sum(one: Allocation, other: Allocation) -> Allocation:
    return Allocation(
        trade_id=one.trade_id,
        role=one.role,
        volume=Lots(one.volume + other.volume),
        profit=one.profit + other.profit,
        commission=one.commission + other.commission,
        swap=one.swap + other.swap,
        fee=one.fee + other.fee,
    )


def _allocation(row: Any) -> Allocation:
    return Allocation(
        trade_id=row["trade_id"],
        role=AllocationRole(row["role"]),
        volume=Lots(row["volume"]),
        profit=row["profit"],
        commission=row["commission"],
        swap=row["swap"],
        fee=row["fee"],
    )


async def _count(connection: AsyncConnection, account: Account, at: datetime, line: Allocation) -> None:
    """Add the line's money to the day of the user who owns it."""
    money: tuple[Decimal, ...] = (line.profit, line.commission, line.swap, line.fee)
    if line.trade_id is None or not any(money):
        return
    await connection.execute(
        _DAILY,
        {
            "account_id": account.id,
            "trade_id": line.trade_id,
            "at": at,
            "profit": line.profit,
            "commission": line.commission,
            "swap": line.swap,
            "fee": line.fee,
        },
    )


_FEED_START = text("""
    SELECT least(
        now() - CAST(:window AS interval),
        (SELECT max(executed_at) FROM fills WHERE account_id = :account_id) - CAST(:window AS interval),
        (SELECT min(received_at) FROM trade_ledger WHERE account_id = :account_id AND closed_at IS NULL)
    )
""")


async def feed_start(connection: AsyncConnection, account_id: UUID, *, window: timedelta) -> datetime:
    """From where a feed that was away has to read: behind the newest fill booked and the oldest open trade."""
    start: datetime = await connection.scalar(_FEED_START, {"account_id": account_id, "window": window})
    return start
