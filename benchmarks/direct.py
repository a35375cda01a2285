"""The floor: the steps of a trade called one after the other in this process, without HTTP and without Temporal.

The same code as in the workers, so the same transactions, the same calls to the terminal through the same child
process, and the same feed beside them.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities import leases
from activities.feed import FeedActivities, FollowAccount, Pace
from activities.reserving import ReserveTrade, ReservingTogether
from activities.sender import Sender
from activities.sends import SenderActivities, SubmitTrade
from activities.trades import AcceptTrade, TradeActivities, TradeStep
from benchmarks.embedded import DAILY_LOSS_LIMIT, POSITION_SIZE_MAX, Embedded
from benchmarks.round_trips import RoundTrips
from benchmarks.samples import Samples
from benchmarks.waiting import until
from benchmarks.ways import BenchFailed, MarketOrder
from brokers.mt5.adapter import open_broker
from db.seed import NewAccount, let_trade, seed_account
from db.users import NewUser, Role, add_user
from domain.orders import OrderIntent, OrderState, OrderType, TimeInForce
from domain.positions import MarginMode
from domain.trades import TradeProgress, trade_id, workflow_id
from stack.demo_account import ACCOUNT_CURRENCY, ACCOUNT_LEVERAGE, TERMINAL_LOGIN, TERMINAL_SERVER, TERMINAL_ZONE

CALL_DEADLINE = timedelta(seconds=10)
ABSENCE_QUIET = timedelta(seconds=5)
DATA_AGE_MAX = timedelta(seconds=5)
FEED_INTERVAL = timedelta(milliseconds=250)
LEASE_TTL = timedelta(hours=1)
SUBMIT_WITHIN = timedelta(seconds=10)
ACTOR = "system:bench"
NO_PASSWORD = "-"  # noqa: S105 - no hash at all, so that nobody logs in

STEPS = ("accept", "reserve", "submit", "settle")

_FRESH = text("""
    SELECT count(*) > 0 AND count(*) = count(*) FILTER (WHERE q.read_at > now() - interval '1 second')
       AND (SELECT max(s.read_at) FROM account_snapshots s WHERE s.account_id = :account_id)
           > now() - interval '1 second'
    FROM quotes q WHERE q.account_id = :account_id
""")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True)
class Steps:
    """What each step of the trades took, in time and in round trips to the database."""

    times: dict[str, Samples] = field(default_factory=lambda: {name: Samples(name=name) for name in STEPS})
    round_trips: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in STEPS})

    def begin_round(self) -> None:
        for samples in self.times.values():
            samples.begin_round()


@dataclass(kw_only=True)
class Direct:
    """An account with its own terminal, and the activities of both workers, called directly."""

    name: str
    slug: str
    account_id: UUID
    user_id: UUID
    books: TradeActivities
    sender: SenderActivities
    feed: FeedActivities
    reading: AsyncEngine
    asked: RoundTrips
    steps: Steps = field(default_factory=Steps)
    environment: ActivityEnvironment = field(default_factory=ActivityEnvironment)
    _following: asyncio.Task[None] | None = None

    async def place(self, order: MarketOrder) -> int:
        intent = self.intent(order)
        progress = await self._timed("accept", self.accept(intent))
        progress = await self._timed("reserve", self.reserve(intent.trade_id))
        if progress.state is OrderState.PENDING:
            progress = await self._timed("submit", self.submit(intent.trade_id))
        progress = await self._timed("settle", self.settle(intent.trade_id))
        return filled(progress)

    def intent(self, order: MarketOrder) -> OrderIntent:
        received_at = now()
        return OrderIntent(
            trade_id=trade_id(self.user_id, order.client_order_id),
            user_id=self.user_id,
            account_id=self.account_id,
            client_order_id=order.client_order_id,
            body_hash=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            order_type=OrderType.MARKET,
            volume=order.volume,
            time_in_force=TimeInForce.GTC,
            position_id=order.position_id,
            received_at=received_at,
            submit_by=received_at + SUBMIT_WITHIN,
        )

    async def accept(self, intent: OrderIntent) -> TradeProgress:
        name = workflow_id(self.user_id, intent.client_order_id)
        return await self.books.accept(AcceptTrade(intent=intent, workflow_id=name))

    async def reserve(self, trade: UUID) -> TradeProgress:
        return (await self.books.reserve(ReserveTrade(trade_id=trade, last=True))).progress

    async def submit(self, trade: UUID) -> TradeProgress:
        step = SubmitTrade(trade_id=trade)
        progress: TradeProgress = await self.environment.run(self.sender.submit, step)
        return progress

    async def settle(self, trade: UUID) -> TradeProgress:
        return await self.books.settle(TradeStep(trade_id=trade))

    async def open_positions(self) -> int:
        async with self.reading.connect() as connection:
            counted = await connection.scalar(
                text("SELECT count(*) FROM broker_positions WHERE account_id = :id"), {"id": self.account_id}
            )
        return int(counted)

    async def begin_turn(self) -> None:
        self.steps.begin_round()
        follow = FollowAccount(account_slug=self.slug)
        self._following = asyncio.create_task(self.environment.run(self.feed.follow, follow))
        await until(self._has_fresh_quotes, what="fresh quotes")

    async def end_turn(self) -> None:
        assert self._following is not None, "a turn ends after it began"
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following

    async def _has_fresh_quotes(self) -> bool:
        if self._following is not None and self._following.done():
            self._following.result()
        async with self.reading.connect() as connection:
            return bool(await connection.scalar(_FRESH, {"account_id": self.account_id}))

    async def _timed(self, step: str, work: Coroutine[Any, Any, TradeProgress]) -> TradeProgress:
        before = self.asked.count
        progress = await self.steps.times[step].time(work)
        self.steps.round_trips[step].append(self.asked.count - before)
        return progress


@asynccontextmanager
async def direct_desk(embedded: Embedded, client: Client, name: str) -> AsyncIterator[Direct]:
    """A desk on the stack's own PostgreSQL, with a terminal process of its own."""
    async with AsyncExitStack() as stack:
        engines = {role: embedded.engine(role) for role in ("owner", "pipeline", "broker")}
        engines["feed"] = embedded.engine("broker")
        for engine in engines.values():
            stack.push_async_callback(engine.dispose)
        address = await embedded.start_terminal(name)
        account_id, user_id = await _seed(engines["owner"], name)
        password = embedded.terminal_password(name)
        lock_file = embedded.plan.state.root / name / "terminal.lock"
        sender = await _sender(engines["broker"], name, address=address, password=password, lock_file=lock_file)
        stack.push_async_callback(sender.broker.close)
        await sender.broker.connect()
        yield Direct(
            name=name,
            slug=name,
            account_id=account_id,
            user_id=user_id,
            books=TradeActivities(
                engines["pipeline"],
                reserving=ReservingTogether(engines["pipeline"], data_age_max=DATA_AGE_MAX, now=now),
                now=now,
            ),
            sender=SenderActivities(engines["broker"], sender, now=now),
            feed=FeedActivities(engines["feed"], sender, client, pace=Pace(interval=FEED_INTERVAL), now=now),
            reading=engines["feed"],
            asked=RoundTrips(engines["pipeline"], engines["broker"]),
        )


def filled(progress: TradeProgress) -> int:
    if progress.state is not OrderState.FILLED or progress.closed_at is None or progress.broker_order_id is None:
        raise BenchFailed(f"trade {progress.trade_id} is {progress.state}: {progress.reason}")
    return progress.broker_order_id


async def _seed(engine: AsyncEngine, slug: str) -> tuple[UUID, UUID]:
    user_id = uuid4()
    async with engine.begin() as connection:
        account_id = await seed_account(
            connection,
            NewAccount(
                slug=slug,
                currency=ACCOUNT_CURRENCY,
                margin_mode=MarginMode.HEDGING,
                leverage=ACCOUNT_LEVERAGE,
                login=TERMINAL_LOGIN,
                server=TERMINAL_SERVER,
                day_zone="UTC",
                daily_loss_limit=DAILY_LOSS_LIMIT,
                position_size_max=POSITION_SIZE_MAX,
            ),
        )
        new = NewUser(id=user_id, username=slug, password_hash=NO_PASSWORD, role=Role.TRADER)
        await add_user(connection, new, actor=ACTOR)
        await let_trade(connection, account=account_id, user_id=user_id)
    return account_id, user_id


async def _sender(engine: AsyncEngine, slug: str, *, address: str, password: str, lock_file: Path) -> Sender:
    account, lease = await leases.take(
        engine, slug, terminal=address, ttl=LEASE_TTL, grace=CALL_DEADLINE + ABSENCE_QUIET
    )
    broker = open_broker(
        terminal="simulated",
        path=address,
        login=TERMINAL_LOGIN,
        password=password,
        server=TERMINAL_SERVER,
        server_zone=ZoneInfo(TERMINAL_ZONE),
        call_deadline=CALL_DEADLINE,
        lock_file=lock_file,
        lease_number=lease.number,
    )
    return Sender(
        account=account,
        lease=lease,
        broker=broker,
        wake_feed=asyncio.Event(),
        absence_quiet=ABSENCE_QUIET,
        slippage_percent_max=Decimal("0.5"),
        ready_at=now(),
    )
