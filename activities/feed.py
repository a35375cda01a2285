"""The account's feed: what happens at the broker comes into the books from here, whoever caused it.

1. It re-reads a rolling window, so late, changed and cancelled records become correcting entries.
2. A failed read changes nothing; the age of what was read last speaks for itself.
3. A trade is told only after the books have committed; telling it twice, or after its end, is harmless.
4. While the terminal shows another account, or a clock that is not ours, nothing of it enters the books but that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from activities import feed_alerts, watch
from activities.feed_books import WINDOW, FeedBooks
from activities.sender import Sender
from activities.stretch import Stretch
from activities.triggers import Triggers
from brokers.protocol import Lookup, MarketReading
from db import accounts, booking, locks, snapshots, trades
from db.fill_queries import feed_start
from db.fills import Orphans
from db.trades import Trade
from domain.errors import BrokerMismatch, BrokerUnavailable, ClockMismatch
from domain.fills import FillSource
from domain.resolution import chosen

REREAD_INTERVAL = timedelta(seconds=30)
INSTRUMENTS_INTERVAL = timedelta(seconds=60)
TRIGGERS_INTERVAL = timedelta(seconds=1)
RUN_TIME = timedelta(hours=5)
LOOKUPS_PER_CYCLE = 5
# The deals of an order may show after its end does; so late, a person has to look.
DEALS_PATIENCE = timedelta(minutes=1)
# A just-accepted order may not be listed at once; until then its absence from the list says nothing.
LISTING_GRACE = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class FollowAccount:
    account_slug: str


Pause = Callable[[asyncio.Event, timedelta], Awaitable[None]]
Reconnected = Callable[[], Awaitable[None]]


async def woken_or_after(wake: asyncio.Event, interval: timedelta) -> None:
    """Wait one interval, or until somebody has reason to look at once."""
    try:
        await asyncio.wait_for(wake.wait(), interval.total_seconds())
    except TimeoutError:
        return
    wake.clear()


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often the feed looks at the broker, and how it waits in between."""

    interval: timedelta
    instruments_interval: timedelta = INSTRUMENTS_INTERVAL
    pause: Pause = woken_or_after


class FeedActivities:
    def __init__(
        self,
        engine: AsyncEngine,
        sender: Sender,
        client: Client,
        *,
        pace: Pace,
        now: Callable[[], datetime],
        triggers: Triggers | None = None,
        reconnected: Reconnected | None = None,
    ) -> None:
        self._engine = engine
        self._sender = sender
        self._books = FeedBooks(engine, sender, client, now=now)
        self._pace = pace
        self._now = now
        self._triggers = triggers
        self._reconnected = reconnected
        self._silent = False

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.follow, self.refresh]

    @activity.defn(name="follow")
    async def follow(self, step: FollowAccount) -> None:
        """Follow the account for some hours; the workflow then starts the next stretch."""
        assert step.account_slug == self._sender.account.slug, "a feed follows the account of its sender"
        async with self._engine.connect() as connection:
            since = await feed_start(connection, self._sender.account.id, window=WINDOW)
            stretch = Stretch(since=since)
            stretch.symbols = await snapshots.known_symbols(connection, self._sender.account.id)
        ends_at = self._now() + RUN_TIME
        while self._now() < ends_at:
            activity.heartbeat()
            if activity.is_worker_shutdown():
                raise ApplicationError("the worker is stopping; the next one goes on", type="worker_stopping")
            try:
                await self._cycle(stretch)
            except BrokerUnavailable as error:
                activity.logger.warning("the terminal gave no reading: %s", error)
                await self._miss()
            except (BrokerMismatch, ClockMismatch) as error:
                await watch.see_mismatch(self._engine, self._sender, error, now=self._now())
                await self._miss()
            await self._pace.pause(self._sender.wake_feed, self._pace.interval)

    @activity.defn(name="refresh")
    async def refresh(self, step: FollowAccount) -> None:
        """Read the market once, now: for a decision that found the feed's data missing or too old."""
        assert step.account_slug == self._sender.account.slug, "a refresh reads the account of its sender"
        try:
            await self.read_now()
        except (BrokerMismatch, ClockMismatch) as error:
            await watch.see_mismatch(self._engine, self._sender, error, now=self._now())
            raise

    async def read_instruments_now(self) -> None:
        """Bring the books up to what the broker lists at this moment."""
        await watch.see_instruments(self._engine, self._sender, now=self._now())

    async def read_now(self) -> None:
        """Bring the books up to what the broker shows at this moment."""
        async with self._engine.connect() as connection:
            symbols = await snapshots.known_symbols(connection, self._sender.account.id)
            started_at = await snapshots.database_clock(connection)
        since = self._now() - WINDOW
        reading = await self._sender.broker.read_market(symbols, deals_since=since)
        # What closed a position is booked before the position is gone, so that its loss counts throughout.
        # Beside the feed, whose reading may be newer: what that has corrected is not taken back.
        fills = await self._sender.broker.read_fills(since)
        await self._books.book(Stretch(since=since), fills, source=FillSource.RESOLVE)
        await self._books.write(reading, started_at=started_at)

    async def _cycle(self, stretch: Stretch) -> None:
        now = self._now()
        if stretch.due("instruments", now, self._pace.instruments_interval):
            # Noted before it is tried: prices and fills must not wait for a list that cannot be had.
            stretch.did("instruments", now)
            await self._read_instruments(stretch)
        async with self._engine.connect() as connection:
            started_at = await snapshots.database_clock(connection)
        since = max(stretch.since, now - WINDOW) if stretch.caught_up else stretch.since
        reading = await self._sender.broker.read_market(stretch.symbols, deals_since=since)
        if reading.deal_count != stretch.deal_count or stretch.due("fills", now, REREAD_INTERVAL):
            await self._books.book(stretch, await self._sender.broker.read_fills(since))
            stretch.did("fills", now)
            stretch.deal_count = reading.deal_count
            stretch.caught_up = True
        elif stretch.waiting:
            await self._books.book(stretch, ())
        await self._books.write(reading, started_at=started_at)
        await self._follow_orders(stretch, reading, now=now)
        if self._triggers is not None and stretch.due("triggers", now, TRIGGERS_INTERVAL):
            await self._triggers.watch(reading.orders)
            stretch.did("triggers", now)
        if reading.account.permissions.connected:
            await self._speak()
        else:
            self._silent = True

    async def _speak(self) -> None:
        """After a silence, say that the broker shows itself again: what it did meanwhile wants a look."""
        if self._silent and self._reconnected is not None:
            await self._reconnected()
        self._silent = False

    async def _miss(self) -> None:
        self._silent = True
        if self._triggers is not None:
            await self._triggers.miss()

    async def _read_instruments(self, stretch: Stretch) -> None:
        try:
            await self.read_instruments_now()
        except BrokerUnavailable as error:
            activity.logger.warning("the symbols could not be read: %s", error)
        async with self._engine.connect() as connection:
            stretch.symbols = await snapshots.known_symbols(connection, self._sender.account.id)

    async def _follow_orders(self, stretch: Stretch, reading: MarketReading, *, now: datetime) -> None:
        """Find out what became of orders that left the broker's list of working ones."""
        listed = {order.broker_order_id for order in reading.orders}
        async with self._engine.connect() as connection:
            resting = await trades.open_at_broker(connection, self._sender.account.id)
        gone = [
            trade
            for trade in resting
            if trade.progress.broker_order_id not in listed
            and trade.submitted_at is not None
            and now - trade.submitted_at > LISTING_GRACE
        ]
        # Those that were looked up longest ago come first, so that a few fruitless ones never starve the rest.
        gone.sort(key=lambda trade: stretch.looked_up.get(trade.id, 0))
        for trade in gone[:LOOKUPS_PER_CYCLE]:
            stretch.look_up_count += 1
            stretch.looked_up[trade.id] = stretch.look_up_count
            lookup = await self._sender.broker.find(trade.progress.magic, since=trade.intent.received_at)
            await self._books.book_all(lookup.fills, Orphans.WAIT, source=FillSource.FEED)
            await self._apply(trade, lookup, now=now)

    async def _apply(self, trade: Trade, lookup: Lookup, *, now: datetime) -> None:
        """Move the trade by what became of its order; its fills are booked before."""
        account, actor = self._sender.account, self._sender.actor
        async with self._engine.begin() as connection:
            await locks.take(connection, locks.Queue.BOOKING, account.id)
            await accounts.check_lease(connection, self._sender.lease)
            before = await trades.lock(connection, trade.id)
            order = chosen(lookup.history_orders, broker_order_id=before.progress.broker_order_id)
            if order is None:
                return
            after = await booking.apply_order(connection, before, order, actor=actor)
            if order.done_at is not None and now - order.done_at > DEALS_PATIENCE and not after.progress.final:
                await feed_alerts.deals_missing(connection, after, order)
        if after != before:
            await self._books.tell([after])
