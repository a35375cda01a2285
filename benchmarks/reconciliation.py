"""Row 4: a reconciliation of many positions beside the broker's reads, against the SQL that reads both sides."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities import leases
from activities.comparing import CompareAccount, ComparingActivities, Comparison
from activities.concluding import ConcludingActivities
from activities.conclusions import ConcludeRun
from activities.feed_books import FeedBooks
from activities.sender import Sender
from benchmarks.direct import now
from benchmarks.embedded import DAILY_LOSS_LIMIT, POSITION_SIZE_MAX, Embedded
from benchmarks.samples import Samples
from benchmarks.ways import BenchFailed
from brokers.protocol import AccountReading, Broker, MarketReading
from db.seed import NewAccount, seed_account
from domain.fills import Fill
from domain.money import ZERO, Currency, Lots, Price
from domain.orders import Side
from domain.positions import BrokerPosition, MarginMode
from domain.reconciliation import RunCause, Thresholds, Verdict
from domain.watch import Permissions
from stack.demo_account import ACCOUNT_CURRENCY, ACCOUNT_LEVERAGE

SLUG = "reconciling"
LOTS, PRICE = Lots(Decimal("0.10")), Price(Decimal("1.10000"))
# When the positions were opened: long before everything that is still in motion.
AGE = timedelta(days=1)
# What the broker shows more of in the run that finds something.
DIFFERENCES = 20

_FILLS = text("""
    INSERT INTO fills (account_id, ticket, revision, content_hash, broker_order_id, position_id, magic, symbol,
                       side, kind, entry, reason, volume, price, commission, swap, fee, profit, currency, comment,
                       executed_at, booked_at, source)
    SELECT :account_id, n, 1, 'bench', n, n, 0, 'EURUSD', 'buy', 'trade', 'in', 'manual', :lots, :price, 0, 0, 0,
           0, 'USD', '', :at, :at, 'feed'
    FROM generate_series(1, :count) AS n
""")
_ALLOCATIONS = text("""
    INSERT INTO fill_allocations (fill_id, line, owner, role, volume, profit, commission, swap, fee)
    SELECT id, 1, 'external', 'open', volume, 0, 0, 0, 0 FROM fills WHERE account_id = :account_id
""")
_INSTRUMENTS = text("""
    INSERT INTO instruments
    SELECT (jsonb_populate_record(i, jsonb_build_object('account_id', CAST(:account_id AS uuid)))).*
    FROM instruments i JOIN broker_accounts a ON a.id = i.account_id WHERE a.slug = 'demo'
""")
_QUOTES = text("""
    INSERT INTO quotes
    SELECT (jsonb_populate_record(q, jsonb_build_object('account_id', CAST(:account_id AS uuid)))).*
    FROM quotes q JOIN broker_accounts a ON a.id = q.account_id WHERE a.slug = 'demo'
""")
_OURS = """
    SELECT position_id, sum(CASE side WHEN 'buy' THEN volume ELSE -volume END) FROM current_fills
    WHERE account_id = $1 AND kind = 'trade' GROUP BY position_id
"""
_THEIRS = "SELECT position_id, side, volume FROM broker_positions WHERE account_id = $1"


@dataclass(frozen=True, kw_only=True)
class Reconciliations:
    """`agreeing` and `differing` are whole runs, `peak_mb` is what one allocated at most."""

    positions: int
    agreeing: Samples
    differing: Samples
    floor: Samples
    peak_mb: float


class Remembered:
    """A broker whose answers are ready, so that only our own work is timed."""

    def __init__(self, positions: int) -> None:
        at = now() - AGE
        self._count = positions
        self.positions = tuple(_position(number, at) for number in range(1, positions + 1))

    async def read_market(self, symbols: Sequence[str], *, deals_since: datetime) -> MarketReading:
        assert not symbols, "a reconciliation asks for no quotes"
        return MarketReading(
            account=_account(read_at=now()),
            quotes=(),
            positions=self.positions,
            orders=(),
            deal_count=int(deals_since.timestamp() > 0),
        )

    async def read_fills(self, since: datetime) -> tuple[Fill, ...]:
        assert since < now(), "records are asked for from before now"
        return ()

    async def read_position_fills(self, position_id: int) -> tuple[Fill, ...]:
        assert position_id > self._count, "only what differs is looked up"
        return ()


class Runs:
    """Whole runs without their workflow: compare, compare again what differs, conclude."""

    def __init__(self, comparing: ComparingActivities, concluding: ConcludingActivities) -> None:
        self._comparing = comparing
        self._concluding = concluding
        self._environment = ActivityEnvironment()

    async def run(self) -> Verdict:
        began_at = now()
        compared = await self._compare()
        if compared.found:
            compared = await self._compare()
        step = ConcludeRun(
            run_id=uuid4(),
            account_slug=SLUG,
            cause=RunCause.REQUEST,
            began_at=began_at,
            read_at=compared.read_at,
            watermark=compared.watermark,
            found=compared.found,
            kept_out=compared.kept_out,
            counts=compared.counts,
            totals=compared.totals,
        )
        return (await self._concluding.conclude_run(step)).verdict

    async def _compare(self) -> Comparison:
        compared: Comparison = await self._environment.run(
            self._comparing.compare_account, CompareAccount(account_slug=SLUG)
        )
        return compared


async def measure_reconciliations(
    embedded: Embedded, client: Client, *, positions: int, count: int, rounds: int
) -> Reconciliations:
    """Interleave runs over books that agree, runs that find differences, and the bare reads."""
    agreeing, differing, floor = (Samples(name=name) for name in ("agreeing", "differing", "bare SQL"))
    broker = Remembered(positions)
    alike = broker.positions
    more = tuple(_position(positions + number, now() - AGE) for number in range(1, DIFFERENCES + 1))
    async with _runs(embedded, client, broker) as (runs, account_id):
        await _expect(runs, {Verdict.CLEAN, Verdict.EXPLAINED})
        connection = await asyncpg.connect(embedded.database_url("owner").replace("+asyncpg", ""))
        try:
            for _ in range(rounds):
                for samples in (agreeing, differing, floor):
                    samples.begin_round()
                for _ in range(count):
                    broker.positions = alike
                    await agreeing.time(_expect(runs, {Verdict.CLEAN}))
                    broker.positions = alike + more
                    await differing.time(_expect(runs, {Verdict.STOPPED}))
                    await floor.time(_bare(connection, account_id, positions=positions))
        finally:
            await connection.close()
        broker.positions = alike
        tracemalloc.start()
        await _expect(runs, {Verdict.CLEAN})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return Reconciliations(
        positions=positions, agreeing=agreeing, differing=differing, floor=floor, peak_mb=peak / 1_000_000
    )


async def _expect(runs: Runs, verdicts: set[Verdict]) -> None:
    verdict = await runs.run()
    if verdict not in verdicts:
        raise BenchFailed(f"a reconciliation ended as {verdict} instead of {', '.join(sorted(verdicts))}")


async def _bare(connection: asyncpg.Connection, account_id: UUID, *, positions: int) -> None:
    """Both sides as the books have them, compared by number and lots and nothing else."""
    ours = {row[0]: row[1] for row in await connection.fetch(_OURS, account_id)}
    theirs = {
        row[0]: row[2] if row[1] == "buy" else -row[2] for row in await connection.fetch(_THEIRS, account_id)
    }
    if len(ours) != positions or any(theirs.get(number) != lots for number, lots in ours.items()):
        raise BenchFailed("the bare SQL finds differences where there are none")


@asynccontextmanager
async def _runs(embedded: Embedded, client: Client, broker: Remembered) -> AsyncIterator[tuple[Runs, UUID]]:
    engines = {role: embedded.engine(role, pool_size=2) for role in ("owner", "pipeline", "broker")}
    try:
        account_id = await _seed(engines["owner"], len(broker.positions))
        account, lease = await leases.take(
            engines["broker"], SLUG, terminal="bench", ttl=timedelta(hours=1), grace=timedelta()
        )
        sender = Sender(
            account=account,
            lease=lease,
            broker=cast("Broker", broker),
            wake_feed=asyncio.Event(),
            absence_quiet=timedelta(minutes=1),
            slippage_percent_max=Decimal("0.5"),
            ready_at=now(),
        )
        books = FeedBooks(engines["broker"], sender, client, now=now)
        comparing = ComparingActivities(engines["broker"], sender, books, now=now)
        concluding = ConcludingActivities(engines["pipeline"], thresholds=Thresholds(), stop_all=False, now=now)
        yield Runs(comparing, concluding), account_id
    finally:
        for engine in engines.values():
            await engine.dispose()


async def _seed(owner: AsyncEngine, positions: int) -> UUID:
    new = NewAccount(
        slug=SLUG,
        currency=ACCOUNT_CURRENCY,
        margin_mode=MarginMode.HEDGING,
        leverage=ACCOUNT_LEVERAGE,
        login=1,
        server="bench",
        day_zone="Europe/Athens",
        daily_loss_limit=DAILY_LOSS_LIMIT,
        position_size_max=POSITION_SIZE_MAX,
    )
    async with owner.begin() as connection:
        account_id = await seed_account(connection, new)
        place = {"account_id": account_id}
        await connection.execute(_INSTRUMENTS, place)
        await connection.execute(_QUOTES, place)
        fills = {**place, "lots": LOTS, "price": PRICE, "at": now() - AGE, "count": positions}
        await connection.execute(_FILLS, fills)
        await connection.execute(_ALLOCATIONS, place)
    async with owner.connect() as connection:
        await connection.execute(text("ANALYZE fills, fill_allocations"))
    return account_id


def _position(number: int, at: datetime) -> BrokerPosition:
    return BrokerPosition(
        ticket=number,
        position_id=number,
        magic=0,
        symbol="EURUSD",
        side=Side.BUY,
        volume=LOTS,
        price_open=PRICE,
        price_current=PRICE,
        stop_loss=None,
        take_profit=None,
        swap=ZERO,
        profit=ZERO,
        opened_at=at,
        updated_at=at,
    )


def _account(*, read_at: datetime) -> AccountReading:
    return AccountReading(
        login=1,
        server="bench",
        company="bench",
        currency=Currency(ACCOUNT_CURRENCY),
        margin_mode=MarginMode.HEDGING,
        trade_mode="demo",
        leverage=ACCOUNT_LEVERAGE,
        permissions=Permissions(
            connected=True, algo_trading=True, python_trading=True, account_trading=True, expert_trading=True
        ),
        balance=ZERO,
        credit=ZERO,
        equity=ZERO,
        margin=ZERO,
        margin_free=ZERO,
        read_at=read_at,
    )
