"""One look of the reconciliation at both sides, by the account's own sender.

1. A reading that fails or is partial raises, and nothing is concluded from it.
2. Records that the books lack are booked first, so that what is left has no record behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity

from activities.feed_books import WINDOW, FeedBooks
from activities.heartbeats import heartbeating
from activities.sender import Sender
from brokers.protocol import MarketReading
from db.book_side import BookSide, read_books, read_worth
from db.fill_queries import not_as_booked
from db.runs import last_run
from domain.fills import Fill
from domain.magics import is_ours
from domain.money import ZERO, Currency
from domain.reconciliation import (
    POSITIONS,
    Compared,
    Difference,
    Held,
    Moving,
    Side,
    Worth,
    compare,
    equity_gap,
)

# What moved so shortly ago is still on its way into the books, or into the broker's lists.
QUIET = timedelta(seconds=2)
# So many positions that differ are looked up by their own records; the others wait for the next run.
LOOKED_UP_MAX = 20
# More differences than a person or a workflow's history can take in; the first of them stop trading anyway.
DIFFERENCES_MAX = 200
# What an equity may be off, for each position, by the broker's rounding of its parts.
PART_ROUNDING = Decimal("0.01")


@dataclass(frozen=True, kw_only=True)
class CompareAccount:
    account_slug: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differed at `read_at`. `found_tickets` are records that the comparison brought into the books."""

    read_at: datetime
    watermark: int
    found: tuple[Difference, ...]
    kept_out: tuple[Difference, ...]
    found_tickets: tuple[int, ...]
    counts: Mapping[str, int]
    totals: Mapping[str, Decimal]


@dataclass(frozen=True, kw_only=True)
class _Brought:
    """The records that came into the books, and those that wait for one that they belong to."""

    tickets: tuple[int, ...] = ()
    waiting: tuple[Fill, ...] = ()

    def with_(self, more: "_Brought") -> "_Brought":
        return _Brought(tickets=(*self.tickets, *more.tickets), waiting=(*self.waiting, *more.waiting))


class ComparingActivities:
    def __init__(
        self,
        engine: AsyncEngine,
        sender: Sender,
        feed: FeedBooks,
        *,
        now: Callable[[], datetime],
        quiet: timedelta = QUIET,
    ) -> None:
        self._engine = engine
        self._sender = sender
        self._feed = feed
        self._now = now
        self._quiet = quiet

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.compare_account]

    @activity.defn(name="compare_account")
    async def compare_account(self, step: CompareAccount) -> Comparison:
        """Read both sides and name every difference."""
        assert step.account_slug == self._sender.account.slug, "an account is read by its own sender"
        async with heartbeating():
            brought = await self._bring(await self._read_records())
            reading = await self._feed.read_whole()
            books, compared = await self._compare(reading, brought)
            late = await self._look_up(compared.found)
            if late != _Brought():
                brought = brought.with_(late)
                books, compared = await self._compare(reading, brought)
            return _comparison(books, reading, compared, brought.tickets)

    async def _compare(self, reading: MarketReading, brought: _Brought) -> tuple[BookSide, Compared]:
        account = self._sender.account
        async with self._engine.connect() as connection:
            books = await read_books(connection, account.id, quiet=self._quiet)
            worth = await read_worth(connection, account.id, Currency(account.currency))
        moving = _moving(books, reading, brought.waiting, quiet=self._quiet)
        return books, _compared(books, reading, moving, worth)

    async def _read_records(self) -> tuple[Fill, ...]:
        """The records since the last run, and of a window before, in which they may still change."""
        async with self._engine.connect() as connection:
            last = await last_run(connection, self._sender.account.id)
        since = self._now() - WINDOW
        if last is not None and last["read_at"] is not None:
            since = min(since, last["read_at"] - self._quiet)
        return await self._sender.broker.read_fills(since)

    async def _bring(self, records: Sequence[Fill]) -> _Brought:
        """Have the records booked that the books do not have as the broker shows them."""
        account_id = self._sender.account.id
        async with self._engine.connect() as connection:
            found = await not_as_booked(connection, account_id, records)
        if not found:
            return _Brought()
        await self._feed.book_found(found)
        async with self._engine.connect() as connection:
            waiting = await not_as_booked(connection, account_id, found)
        tickets = {fill.ticket for fill in found} - {fill.ticket for fill in waiting}
        return _Brought(tickets=tuple(sorted(tickets))[:DIFFERENCES_MAX], waiting=waiting)

    async def _look_up(self, found: Sequence[Difference]) -> _Brought:
        """Read the records of positions that differ, however old: one may have been made before our time."""
        brought = _Brought()
        numbers = [each.number for each in found if each.kind in POSITIONS and each.number is not None]
        for number in numbers[:LOOKED_UP_MAX]:
            brought = brought.with_(await self._bring(await self._sender.broker.read_position_fills(number)))
        return brought


def _compared(books: BookSide, reading: MarketReading, moving: Moving, worth: Worth) -> Compared:
    """The differences of both sides, with the equity's, which has only the broker's side."""
    compared = compare(books.side, _side(reading), moving=moving, worth=worth)
    account = reading.account
    gap = equity_gap(
        balance=account.balance,
        credit=account.credit,
        floating=sum((position.profit + position.swap for position in reading.positions), ZERO),
        equity=account.equity,
        worth=worth,
    )
    if abs(gap.amount) <= PART_ROUNDING * max(1, len(reading.positions)):
        return compared
    return Compared(found=(*compared.found, gap), kept_out=compared.kept_out)


def _side(reading: MarketReading) -> Side:
    return Side(
        balance=reading.account.balance,
        credit=reading.account.credit,
        positions={
            position.position_id: Held(
                symbol=position.symbol,
                lots=position.volume * position.side.sign,
                price=position.price_open,
            )
            for position in reading.positions
        },
        orders={
            order.broker_order_id: f"{order.side} {order.remaining} {order.symbol}"
            for order in reading.orders
            if is_ours(order.magic)
        },
    )


def _moving(books: BookSide, reading: MarketReading, waiting: Sequence[Fill], *, quiet: timedelta) -> Moving:
    """What either side shows in motion at the moment of the reading, and what waits to be booked."""
    recent_at = reading.account.read_at - quiet
    magics = books.moving_magics
    positions = {
        position.position_id
        for position in reading.positions
        if position.updated_at > recent_at or position.magic in magics
    }
    positions |= {fill.position_id for fill in waiting if fill.position_id}
    orders = {order.broker_order_id for order in reading.orders if order.magic in magics}
    return Moving(
        positions=books.moving_positions | positions,
        orders=books.moving_orders | orders,
        money=books.moving_money
        or any(position.updated_at > recent_at for position in reading.positions)
        or any(fill.cash != 0 for fill in waiting),
    )


def _comparison(
    books: BookSide, reading: MarketReading, compared: Compared, tickets: tuple[int, ...]
) -> Comparison:
    foreign = sum(not is_ours(order.magic) for order in reading.orders)
    return Comparison(
        read_at=reading.account.read_at,
        watermark=books.watermark,
        found=compared.found[:DIFFERENCES_MAX],
        kept_out=compared.kept_out[:DIFFERENCES_MAX],
        found_tickets=tickets,
        counts={
            "positions": len(reading.positions),
            "orders": len(reading.orders) - foreign,
            "foreign_orders": foreign,
            "differences": len(compared.found),
            "kept_out": len(compared.kept_out),
        },
        totals={
            "balance": reading.account.balance,
            "balance_books": books.side.balance,
            "credit": reading.account.credit,
            "credit_books": books.side.credit,
            "equity": reading.account.equity,
        },
    )
