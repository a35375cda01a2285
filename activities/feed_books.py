"""What the feed brings into the books: records of the broker one by one, and its readings as they are.

1. A trade is told only after the books have committed; telling it twice, or after its end, is harmless.
2. A record that the books refuse keeps no other out of them.
3. A reading older than the newest one is not kept.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities import feed_alerts, watch
from activities.sender import Sender
from activities.stretch import Stretch, orphans_of
from brokers.protocol import MarketReading
from db import accounts, booking, locks, reservations, snapshots
from db.fill_queries import unbooked
from db.fills import Orphans
from db.snapshots import AccountSnapshot
from db.trades import Trade
from domain.errors import BrokerUnavailable, LeaseLost, PipelineError
from domain.fills import Fill, FillSource
from domain.magics import is_ours

BOOKED_SIGNAL = "booked"
# How far back records may still come, change or be cancelled.
WINDOW = timedelta(days=2)


class FeedBooks:
    def __init__(
        self, engine: AsyncEngine, sender: Sender, client: Client, *, now: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._sender = sender
        self._client = client
        self._now = now

    async def book_found(self, records: Sequence[Fill]) -> None:
        """Book records that somebody else found at the broker, and wake their trades."""
        await self.book(Stretch(since=self._now()), records)

    async def read_whole(self) -> MarketReading:
        """Read the account, its positions and orders, and keep them as what the broker shows now.

        Raises BrokerUnavailable for a terminal without a link: it shows what it remembers.
        """
        async with self._engine.connect() as connection:
            started_at = await snapshots.database_clock(connection)
        reading = await self._sender.broker.read_market((), deals_since=self._now() - WINDOW)
        if not reading.account.permissions.connected:
            raise BrokerUnavailable("the terminal has no link to the broker, so it shows what it remembers")
        await self.write(reading, started_at=started_at)
        return reading

    async def write(self, reading: MarketReading, *, started_at: datetime) -> None:
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

    async def book(
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
        refused = [fill for way, fills in ways.items() for fill in await self.book_all(fills, way, source=source)]
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

    async def book_all(self, records: Sequence[Fill], orphans: Orphans, *, source: FillSource) -> list[Fill]:
        """Book the records and tell their trades; those that the books refuse, to be tried again."""
        if not records:
            return []
        try:
            await self.tell(await self._book_together(records, orphans, source=source))
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
            await self.tell(await self._book_together([fill], orphans, source=source))
        except LeaseLost:
            raise
        except (PipelineError, IntegrityError, AssertionError) as error:
            async with self._engine.begin() as connection:
                await feed_alerts.unbookable(connection, self._sender.account, fill, error)
            return False
        return True

    async def tell(self, moved: Iterable[Trade]) -> None:
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
