"""The account's feed: what happens at the broker comes into the books from here, whoever caused it.

1. It re-reads a rolling window, so late, changed and cancelled records become correcting entries.
2. A failed read changes nothing; the age of what was read last speaks for itself.
3. A trade is told only after the books have committed; telling it twice, or after its end, is harmless.
4. While the terminal shows another account, or a clock that is not ours, nothing of it enters the books but that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities import feed_alerts, watch
from activities.sender import Sender
from activities.stretch import Stretch, orphans_of
from activities.triggers import Triggers
from brokers.protocol import Lookup, MarketReading
from db import accounts, booking, locks, reservations, snapshots, trades
from db.fill_queries import feed_start, unbooked
from db.fills import Orphans
from db.snapshots import AccountSnapshot
from db.trades import Trade
from domain.errors import BrokerMismatch, BrokerUnavailable, ClockMismatch, LeaseLost, PipelineError
from domain.fills import Fill, FillSource
from domain.orders import is_ours
from domain.resolution import chosen

BOOKED_SIGNAL = "booked"

WINDOW = timedelta(days=2)
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


async def woken_or_after(wake: asyncio.Event, interval: timedelta) -> None:
    """Wait one interval, or until somebody has reason to look at once."""
    try:
        await asyncio.wait_for(wake.wait(), interval.total_seconds())
    except TimeoutError:
        return
    wake.clear()


class FeedActivities:
    def __init__(
        self,
        engine: AsyncEngine,
        sender: Sender,
        client: Client,
        *,
        interval: timedelta,
        now: Callable[[], datetime],
        pause: Pause = woken_or_after,
        instruments_interval: timedelta = INSTRUMENTS_INTERVAL,
        triggers: Triggers | None = None,
    ) -> None:
        self._engine = engine
        self._sender = sender
        self._client = client
        self._interval = interval
        self._instruments_interval = instruments_interval
        self._now = now
        self._pause = pause
        self._triggers = triggers

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
            await self._pause(self._sender.wake_feed, self._interval)

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
        await self._book(Stretch(since=since), fills, source=FillSource.RESOLVE)
        await self._write(reading, started_at=started_at)

    async def _cycle(self, stretch: Stretch) -> None:
        now = self._now()
        if stretch.due("instruments", now, self._instruments_interval):
            # Noted before it is tried: prices and fills must not wait for a list that cannot be had.
            stretch.did("instruments", now)
            await self._read_instruments(stretch)
        async with self._engine.connect() as connection:
            started_at = await snapshots.database_clock(connection)
        since = max(stretch.since, now - WINDOW) if stretch.caught_up else stretch.since
        reading = await self._sender.broker.read_market(stretch.symbols, deals_since=since)
        if reading.deal_count != stretch.deal_count or stretch.due("fills", now, REREAD_INTERVAL):
            await self._book(stretch, await self._sender.broker.read_fills(since))
            stretch.did("fills", now)
            stretch.deal_count = reading.deal_count
            stretch.caught_up = True
        elif stretch.waiting:
            await self._book(stretch, ())
        await self._write(reading, started_at=started_at)
        await self._follow_orders(stretch, reading, now=now)
        if self._triggers is not None and stretch.due("triggers", now, TRIGGERS_INTERVAL):
            await self._triggers.watch(reading.orders)
            stretch.did("triggers", now)

    async def _miss(self) -> None:
        if self._triggers is not None:
            await self._triggers.miss()

    async def _read_instruments(self, stretch: Stretch) -> None:
        try:
            await self.read_instruments_now()
        except BrokerUnavailable as error:
            activity.logger.warning("the symbols could not be read: %s", error)
        async with self._engine.connect() as connection:
            stretch.symbols = await snapshots.known_symbols(connection, self._sender.account.id)

    async def _write(self, reading: MarketReading, *, started_at: datetime) -> None:
        """Store a reading that began at `started_at` by the database's clock, unless a newer one is there."""
        account_id, seen = self._sender.account.id, reading.account
        async with self._engine.begin() as connection:
            await locks.take(connection, locks.Queue.BOOKING, account_id)
            await accounts.check_lease(connection, self._sender.lease)
            before = await snapshots.newest(connection, account_id)
            if before is not None and before.read_at > seen.read_at:
                return
            await watch.see_account(connection, self._sender, seen, before=before)
            await snapshots.write_quotes(connection, account_id, reading.quotes)
            await snapshots.write_account(connection, account_id, _snapshot(reading))
            await snapshots.write_positions(connection, account_id, reading.positions, read_at=seen.read_at)
            await reservations.stop_counting_settled(connection, account_id, read_at=started_at)

    async def _book(
        self, stretch: Stretch, records: Sequence[Fill], *, source: FillSource = FillSource.FEED
    ) -> None:
        """Book what is new, and what waited; an exit may show before what it closes does, and waits a little."""
        now = self._now()
        new = [fill for fill in records if stretch.known.get(fill.ticket) != fill.content_hash]
        due = {**stretch.waiting, **{fill.ticket: (fill, stretch.seen_at(fill, now)) for fill in new}}
        if not due:
            return
        ways: dict[Orphans, list[Fill]] = {way: [] for way in (Orphans.BOOK, Orphans.STRANGERS_WAIT, Orphans.WAIT)}
        for fill, seen_at in due.values():
            ways[orphans_of(fill, now - seen_at)].append(fill)
        refused = [fill for way, fills in ways.items() for fill in await self._book_all(fills, way, source=source)]
        tickets = {fill.ticket for way, fills in ways.items() if way is not Orphans.BOOK for fill in fills}
        stretch.known.update((fill.ticket, fill.content_hash) for fill in new if fill not in refused)
        stretch.waiting = {ticket: due[ticket] for ticket in await self._unbooked(tickets)}
        for fill, _ in stretch.waiting.values():
            if is_ours(fill.magic):
                async with self._engine.begin() as connection:
                    await feed_alerts.stranger(connection, self._sender.account, fill)

    async def _unbooked(self, tickets: Collection[int]) -> Collection[int]:
        if not tickets:
            return ()
        async with self._engine.connect() as connection:
            return await unbooked(connection, self._sender.account.id, tickets)

    async def _book_all(self, records: Sequence[Fill], orphans: Orphans, *, source: FillSource) -> list[Fill]:
        """Book the records and tell their trades; those that the books refuse, to be tried again."""
        if not records:
            return []
        try:
            await self._tell(await self._book_together(records, orphans, source=source))
        except LeaseLost:
            raise
        except (PipelineError, IntegrityError, AssertionError):
            # One record that the books refuse must not keep the others out of them.
            activity.logger.exception("a record could not be booked; booking one by one")
            in_order = sorted(records, key=lambda fill: fill.ticket)
            return [fill for fill in in_order if not await self._book_alone(fill, orphans, source=source)]
        return []

    async def _book_together(
        self, records: Sequence[Fill], orphans: Orphans, *, source: FillSource
    ) -> tuple[Trade, ...]:
        async with self._engine.begin() as connection:
            await accounts.check_lease(connection, self._sender.lease)
            return await booking.book_fills(
                connection,
                self._sender.account,
                records,
                source=source,
                actor=self._sender.actor,
                slippage_percent_max=self._sender.slippage_percent_max,
                orphans=orphans,
            )

    async def _book_alone(self, fill: Fill, orphans: Orphans, *, source: FillSource) -> bool:
        try:
            await self._tell(await self._book_together([fill], orphans, source=source))
        except LeaseLost:
            raise
        except (PipelineError, IntegrityError, AssertionError) as error:
            async with self._engine.begin() as connection:
                await feed_alerts.unbookable(connection, self._sender.account, fill, error)
            return False
        return True

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
            await self._book_all(lookup.fills, Orphans.WAIT, source=FillSource.FEED)
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
            await self._tell([after])

    async def _tell(self, moved: Iterable[Trade]) -> None:
        """Wake the workflows of trades that moved."""
        for trade in {trade.id: trade for trade in moved}.values():
            if trade.progress.closed_at is not None:
                continue
            try:
                await self._client.get_workflow_handle(trade.workflow_id).signal(BOOKED_SIGNAL)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise


def _snapshot(reading: MarketReading) -> AccountSnapshot:
    seen = reading.account
    return AccountSnapshot(
        read_at=seen.read_at,
        balance=seen.balance,
        credit=seen.credit,
        equity=seen.equity,
        margin=seen.margin,
        margin_free=seen.margin_free,
        leverage=seen.leverage,
        connected=seen.permissions.connected,
        trade_allowed=seen.permissions.trade_allowed,
    )
