"""Row 2: reservations, one at a time and as one burst on one user, against the least SQL that holds a limit."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.reserving import ReservingTogether
from activities.trades import LostSubmit, TradeActivities, TradeStep
from benchmarks.direct import ACTOR, DATA_AGE_MAX, Direct, now
from benchmarks.embedded import POSITION_SIZE_MAX
from benchmarks.samples import Samples
from benchmarks.trades import SYMBOL, VOLUME
from benchmarks.ways import BenchFailed, MarketOrder
from db.limits import NewLimit, set_limit
from domain.limits import LimitName, LimitUnit
from domain.orders import OrderState, Side

BURST = 64
# Room for some of the burst and not for all of it, so that the limit is met and must hold.
ROOM = 40
# A reservation's connections in the pipeline worker.
POOL_SIZE = 10

_HELD = text("""
    SELECT count(*) AS granted, coalesce(sum(r.notional), 0) AS notional,
           (SELECT held_notional FROM exposure_totals t WHERE t.account_id = :account_id AND t.user_id = :user_id)
               AS total
    FROM risk_reservations r
    WHERE r.account_id = :account_id AND r.user_id = :user_id AND r.state = 'held'
""")


@dataclass(frozen=True, kw_only=True)
class Burst:
    """`last_done_ms` of each burst; what was granted of the newest, and the limit that it met."""

    last_done: Samples
    asked: int
    granted: int
    notional: Decimal
    limit: Decimal


@dataclass(frozen=True, kw_only=True)
class Reservations:
    one: Samples
    one_floor: Samples
    burst: Burst
    burst_floor: Samples


class Reserving:
    """Makes trades that wait for their reservation, and ends them again, off the clock."""

    def __init__(self, desk: Direct, *, owner: AsyncEngine, pipeline: AsyncEngine) -> None:
        self._desk = desk
        self._owner = owner
        self._numbers = 0
        # For it every submit deadline has passed, which ends a trade that was never sent.
        self._later = TradeActivities(
            pipeline,
            reserving=ReservingTogether(pipeline, data_age_max=DATA_AGE_MAX, now=_tomorrow),
            now=_tomorrow,
        )

    async def accepted(self, count: int) -> list[UUID]:
        trades = []
        for _ in range(count):
            self._numbers += 1
            order = MarketOrder(
                client_order_id=f"reserve-{self._numbers}", symbol=SYMBOL, side=Side.BUY, volume=VOLUME
            )
            trades.append((await self._desk.accept(self._desk.intent(order))).trade_id)
        return trades

    async def reserve(self, trade: UUID) -> OrderState:
        return (await self._desk.reserve(trade)).state

    async def end(self, trades: Sequence[UUID]) -> None:
        for trade in trades:
            await self._later.give_up_sending(LostSubmit(trade_id=trade, started=False))
            await self._later.settle(TradeStep(trade_id=trade))

    async def limit(self, value: Decimal) -> None:
        """Set the user's own limit on the size of a position."""
        new = NewLimit(
            name=LimitName.POSITION_SIZE,
            account_id=self._desk.account_id,
            user_id=self._desk.user_id,
            value=value,
            unit=LimitUnit.MONEY,
            currency="USD",
            reason="the limit that the burst meets",
        )
        async with self._owner.begin() as connection:
            await set_limit(connection, new, actor=ACTOR)

    async def held(self) -> tuple[int, Decimal, Decimal]:
        """How many reservations the user holds, their value, and the stored total of it."""
        ids = {"account_id": self._desk.account_id, "user_id": self._desk.user_id}
        async with self._owner.connect() as connection:
            row = (await connection.execute(_HELD, ids)).one()
        return row.granted, row.notional, row.total


class Bare:
    """The least SQL that reserves under a limit: lock the total, compare, insert, add, record. No gates."""

    def __init__(self, pool: asyncpg.Pool, desk: Direct, *, limit: Decimal) -> None:
        self._pool = pool
        self._ids = (desk.account_id, desk.user_id)
        self._limit = limit

    async def reserve(self, trade: UUID) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            held = await connection.fetchval(_LOCK, *self._ids)
            if held + _VALUE > self._limit:
                return
            await connection.execute(_INSERT, trade, *self._ids, _VALUE)
            await connection.execute(_ADD, *self._ids, _VALUE)
            await connection.execute(_ADJUST, trade, _VALUE)
            await connection.execute(_AUDIT, ACTOR, f"trade:{trade}")


_VALUE = Decimal(1000)
_LOCK = "SELECT held_notional FROM exposure_totals WHERE account_id = $1 AND user_id = $2 FOR UPDATE"
_INSERT = """
    INSERT INTO risk_reservations (trade_id, account_id, user_id, symbol, state, currency, volume, loss, notional,
                                   margin, reference_price, collar_points)
    VALUES ($1, $2, $3, 'EURUSD', 'held', 'USD', 0.01, 0, $4, 0, 1, 0)
"""
_ADD = "UPDATE exposure_totals SET held_notional = held_notional + $3 WHERE account_id = $1 AND user_id = $2"
_ADJUST = """
    INSERT INTO risk_adjustments (trade_id, cause, volume, loss, notional, margin)
    VALUES ($1, 'held', 0.01, 0, $2, 0)
"""
_AUDIT = "INSERT INTO audit_log (actor, action, subject, detail) VALUES ($1, 'bench.reserved', $2, '{}')"


async def measure_reservations(
    desk: Direct, *, owner: AsyncEngine, pipeline: AsyncEngine, bare_url: str, count: int, rounds: int
) -> Reservations:
    """Interleave rounds of reservations and of the bare SQL, each on trades that were accepted before."""
    reserving = Reserving(desk, owner=owner, pipeline=pipeline)
    names = ("reserve", "bare SQL", "reserve", "bare SQL")
    one, one_floor, burst, burst_floor = (Samples(name=name) for name in names)
    granted, notional, limit = 0, Decimal(0), Decimal(0)
    await desk.begin_turn()
    try:
        await _one_by_one(reserving, reserving.reserve, count=3, samples=Samples(name="warm-up"))
        async with asyncpg.create_pool(bare_url, min_size=POOL_SIZE, max_size=POOL_SIZE) as pool:
            bare = Bare(pool, desk, limit=POSITION_SIZE_MAX)
            burst_bare = Bare(pool, desk, limit=_VALUE * ROOM)
            for _ in range(rounds):
                await _one_by_one(reserving, reserving.reserve, count=count, samples=one)
                await _one_by_one(reserving, bare.reserve, count=count, samples=one_floor)
                granted, notional, limit = await _burst(reserving, samples=burst)
                await _burst_bare(reserving, burst_bare, samples=burst_floor)
    finally:
        await desk.end_turn()
    return Reservations(
        one=one,
        one_floor=one_floor,
        burst=Burst(last_done=burst, asked=BURST, granted=granted, notional=notional, limit=limit),
        burst_floor=burst_floor,
    )


async def _one_by_one(
    reserving: Reserving, reserve: Callable[[UUID], Awaitable[object]], *, count: int, samples: Samples
) -> None:
    samples.begin_round()
    trades = await reserving.accepted(count)
    for trade in trades:
        await samples.time(reserve(trade))
    await reserving.end(trades)


async def _burst(reserving: Reserving, *, samples: Samples) -> tuple[int, Decimal, Decimal]:
    """All at once on one user whose limit has room for some; BenchFailed if it was not met exactly."""
    (first,) = await reserving.accepted(1)
    await reserving.reserve(first)
    _, value, _ = await reserving.held()
    await reserving.end([first])
    limit = value * ROOM + value / 2
    await reserving.limit(limit)
    trades = await reserving.accepted(BURST)
    samples.begin_round()
    states = await samples.time(asyncio.gather(*(reserving.reserve(trade) for trade in trades)))
    granted, notional, total = await reserving.held()
    if notional > limit or total != notional or states.count(OrderState.PENDING) != granted:
        raise BenchFailed(f"{granted} reservations of {notional} under a limit of {limit}, total {total}")
    await reserving.end(trades)
    await reserving.limit(POSITION_SIZE_MAX)
    return granted, notional, limit


async def _burst_bare(reserving: Reserving, bare: Bare, *, samples: Samples) -> None:
    trades = await reserving.accepted(BURST)
    samples.begin_round()
    await samples.time(asyncio.gather(*(bare.reserve(trade) for trade in trades)))
    granted, _, _ = await reserving.held()
    if granted != ROOM:
        raise BenchFailed(f"the bare SQL granted {granted} reservations where there was room for {ROOM}")
    await reserving.end(trades)


def _tomorrow() -> datetime:
    return now() + timedelta(days=1)
