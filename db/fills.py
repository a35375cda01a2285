"""The fill book: every record of the broker once, allocated in full, its money posted in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import corrections, daily_stats, ledger, trade_locks, trades
from db.accounts import Account
from db.journal import record
from db.jsons import dumps
from db.tables import fill_allocations, fills
from domain.attribution import Allocation, AllocationRole, Opener, allocate, covered
from domain.fills import Entry, Fill, FillKind, FillReason, FillSource
from domain.money import Lots
from domain.settlement import event_id, reversal_id, voided, voided_id

# Those of a position as it was just before one of its records, whatever is booked of what came later. A broker
# numbers its records as they come; their times may be off while its clock is.
_OPENERS = text("""
    SELECT a.trade_id,
           sum(CASE a.role WHEN 'open' THEN a.volume WHEN 'close' THEN -a.volume ELSE 0 END) AS volume
    FROM fills f JOIN fill_allocations a ON a.fill_id = f.id
    WHERE f.account_id = :account_id AND f.position_id = :position_id AND f.ticket < :ticket
    GROUP BY a.trade_id
    HAVING bool_or(a.role = 'open')
    ORDER BY min(f.ticket) FILTER (WHERE a.role = 'open')
""")

_BOOKED = text("""
    SELECT * FROM fills
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

# What closed something of a position after one of its records. Where the broker cancelled a record, it settles the
# position by trades of its own, and what was closed stays with whom it closed.
_LATER_EXITS = text("""
    SELECT * FROM (
        SELECT DISTINCT ON (ticket) *, bool_or(kind = 'cancelled') OVER () AS unsettled FROM fills
        WHERE account_id = :account_id AND position_id = :position_id ORDER BY ticket, revision DESC) n
    WHERE entry IN ('out', 'out_by', 'inout') AND ticket > :ticket AND NOT unsettled
    ORDER BY ticket
""")

_STANDING = (
    select(fill_allocations)
    .join(fills, fills.c.id == fill_allocations.c.fill_id)
    .where(fills.c.account_id == bindparam("account_id"), fills.c.ticket == bindparam("ticket"))
    .order_by(fills.c.revision, fill_allocations.c.line)
)


class Orphans(StrEnum):
    """What becomes of a fill whose trade or openers the books do not know: it waits for them, or is nobody's.

    STRANGERS_WAIT books one that misses its openers, but not one under a number of ours that no trade has.
    """

    WAIT = "wait"
    STRANGERS_WAIT = "strangers_wait"
    BOOK = "book"


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
    source: FillSource,
    orphans: Orphans,
) -> Booked | None:
    """Book a record of the broker once; None if this very content is booked, or if it waits for its openers.

    The caller holds the account's booking queue. A changed record becomes a new revision that takes back the
    lines and the money of the one before. So does one that was nobody's once its trade is known, whoever reports
    it. In whatever order records come, what closed their position is in the end with whom it closed.
    """
    known = await connection.execute(_BOOKED, {"account_id": account.id, "ticket": fill.ticket})
    before = known.mappings().one_or_none()
    if before is None:
        openers = await _openers(connection, account, fill)
        if orphans is Orphans.WAIT and not covered(fill, openers):
            return None
        booked = await _write(connection, account, fill, maker=maker, source=source, openers=openers)
        await _attribute_later_exits(connection, account, fill)
        return booked
    if before["content_hash"] == fill.content_hash:
        if maker is None or before["trade_id"] is not None:
            return None
        booked = await _revise(
            connection, account, fill, before=before, maker=maker, source=FillSource.ATTRIBUTION
        )
        await _attribute_later_exits(connection, account, fill)
        return booked
    if source is not FillSource.FEED:
        # Only the feed reads in order: an answer read earlier may come to the books later.
        return None
    # A corrected record may have lost its magic; its trade is still the one of the record before.
    return await _revise(
        connection, account, fill, before=before, maker=maker or before["trade_id"], source=source
    )


async def _attribute_later_exits(connection: AsyncConnection, account: Account, fill: Fill) -> None:
    if fill.position_id == 0 or fill.kind is not FillKind.TRADE:
        return
    for before in (await connection.execute(_LATER_EXITS, _place(account, fill))).mappings().all():
        later, maker = _fill(before), before["trade_id"]
        openers = await _openers(connection, account, later)
        if set(allocate(later, maker=maker, openers=openers)) != set(
            await _allocations(connection, account.id, later.ticket)
        ):
            await _revise(connection, account, later, before=before, maker=maker, source=FillSource.ATTRIBUTION)


async def _revise(
    connection: AsyncConnection,
    account: Account,
    fill: Fill,
    *,
    before: RowMapping,
    maker: UUID | None,
    source: FillSource,
) -> Booked:
    return await _write(
        connection,
        account,
        fill,
        maker=maker,
        source=source,
        openers=await _openers(connection, account, fill),
        before=before,
        standing=await _allocations(connection, account.id, fill.ticket),
    )


async def _write(
    connection: AsyncConnection,
    account: Account,
    fill: Fill,
    *,
    maker: UUID | None,
    source: FillSource,
    openers: Sequence[Opener],
    before: RowMapping | None = None,
    standing: Sequence[Allocation] = (),
) -> Booked:
    """Write a revision of the record, with what it takes back of the one before."""
    revision = 1 if before is None else before["revision"] + 1
    taken_back = tuple(line.reversed() for line in standing)
    allocations = allocate(fill, maker=maker, openers=openers)
    lines = (*taken_back, *allocations)
    fill_id = await _insert(connection, account, fill, revision=revision, maker=maker, source=source, lines=lines)
    for line in allocations:
        await daily_stats.count(connection, account, fill.executed_at, line)
    if before is not None:
        for line in taken_back:
            await daily_stats.count(connection, account, before["executed_at"], line)
        await ledger.reverse(
            connection,
            event_id(account.id, fill.ticket, revision - 1),
            into=reversal_id(account.id, fill.ticket, revision - 1),
            fill_id=fill_id,
        )
        if fill.kind is FillKind.CANCELLED and before["kind"] == FillKind.TRADE:
            stays = voided(fill, before["profit"] - fill.profit)
            voids = voided_id(account.id, fill.ticket, revision)
            await ledger.post_lines(connection, account, voids, lines=stays, fill_id=None)
    event = event_id(account.id, fill.ticket, revision)
    await ledger.post(connection, account, event, fill=fill, fill_id=fill_id, lines=allocations)
    await corrections.take_back(connection, account, fill, source=source)
    await record(
        connection,
        _action(revision, source),
        actor="broker",
        subject=f"fill:{fill.ticket}",
        detail={"fill": fill, "revision": revision, "source": source},
        account_id=account.id,
        trade_id=maker,
    )
    return Booked(fill_id=fill_id, fill=fill, trade_id=maker)


async def maker_of(connection: AsyncConnection, account_id: UUID, fill: Fill) -> trades.Trade | None:
    """The trade whose order made the fill, locked: by its magic, else by its order number.

    An exit that the broker made itself (a stop, a stop-out) may carry the magic of the order that opened the
    position, so only the number of the order tells such exits from ours.
    """
    trade = await trade_locks.find_by_magic(connection, account_id, fill.magic) if fill.magic else None
    if trade is None:
        return await trade_locks.find_by_order(connection, account_id, fill.broker_order_id)
    exits = {FillReason.STOP_LOSS, FillReason.TAKE_PROFIT, FillReason.STOP_OUT}
    if fill.reason in exits or (fill.entry is not Entry.IN and not trade.intent.reducing and _later(trade, fill)):
        return None
    return trade


def _later(trade: trades.Trade, fill: Fill) -> bool:
    order_id = trade.progress.broker_order_id
    return order_id is not None and fill.broker_order_id != order_id


def _action(revision: int, source: FillSource) -> str:
    if source is FillSource.ATTRIBUTION:
        return "fill.attributed"
    return "fill.booked" if revision == 1 else "fill.corrected"


async def _openers(connection: AsyncConnection, account: Account, fill: Fill) -> tuple[Opener, ...]:
    if fill.position_id == 0 or fill.entry is Entry.IN:
        return ()
    rows = await connection.execute(_OPENERS, _place(account, fill))
    return tuple(Opener(trade_id=row.trade_id, volume=Lots(row.volume)) for row in rows)


def _place(account: Account, fill: Fill) -> dict[str, Any]:
    """Where a record stands in the history of its position."""
    return {
        "account_id": account.id,
        "position_id": fill.position_id,
        "ticket": fill.ticket,
    }


async def _insert(
    connection: AsyncConnection,
    account: Account,
    fill: Fill,
    *,
    revision: int,
    maker: UUID | None,
    source: FillSource,
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


def _fill(row: RowMapping) -> Fill:
    """The broker's record as it was booked."""
    given = {field.name: row[field.name] for field in dataclass_fields(Fill)}
    kinds = {"kind": FillKind(row["kind"]), "entry": Entry(row["entry"]), "reason": FillReason(row["reason"])}
    return Fill(**{**given, **kinds})


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
