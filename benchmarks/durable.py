"""The same steps as a DBOS workflow: each step's result is stored in PostgreSQL before the next begins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from dbos import DBOS, DBOSConfig, DBOSConfiguredInstance, SetWorkflowID

from benchmarks.direct import Direct, filled
from benchmarks.embedded import Embedded
from benchmarks.ways import MarketOrder
from domain.orders import OrderIntent, OrderState
from domain.trades import TradeProgress

SYSTEM_DATABASE = "bench_dbos"


@DBOS.dbos_class()
class DurableTrade(DBOSConfiguredInstance):
    def __init__(self, desk: Direct) -> None:
        super().__init__(config_name=desk.slug)
        self._desk = desk

    @DBOS.workflow()
    async def run(self, intent: OrderIntent) -> TradeProgress:
        await self.accept(intent)
        progress = await self.reserve(intent)
        if progress.state is OrderState.PENDING:
            await self.submit(intent)
        return await self.settle(intent)

    @DBOS.step()
    async def accept(self, intent: OrderIntent) -> TradeProgress:
        return await self._desk.accept(intent)

    @DBOS.step()
    async def reserve(self, intent: OrderIntent) -> TradeProgress:
        return await self._desk.reserve(intent.trade_id)

    @DBOS.step()
    async def submit(self, intent: OrderIntent) -> TradeProgress:
        return await self._desk.submit(intent.trade_id)

    @DBOS.step()
    async def settle(self, intent: OrderIntent) -> TradeProgress:
        return await self._desk.settle(intent.trade_id)


class Durable:
    """Called in this process, as a library is: without HTTP and without a worker's process between."""

    name = "DBOS"

    def __init__(self, desk: Direct, trades: DurableTrade) -> None:
        self._desk = desk
        self._trades = trades

    async def place(self, order: MarketOrder) -> int:
        intent = self._desk.intent(order)
        with SetWorkflowID(str(intent.trade_id)):
            return filled(await self._trades.run(intent))

    async def open_positions(self) -> int:
        return await self._desk.open_positions()

    async def begin_turn(self) -> None:
        await self._desk.begin_turn()

    async def end_turn(self) -> None:
        await self._desk.end_turn()


@asynccontextmanager
async def durable_desk(embedded: Embedded, desk: Direct) -> AsyncIterator[Durable]:
    """DBOS with its own database on the stack's PostgreSQL, launched until the block ends."""
    password = embedded.plan.secrets.read_or_make("postgres")
    admin = await asyncpg.connect(embedded.plan.postgres.url(password=password))
    try:
        await admin.execute(f"CREATE DATABASE {SYSTEM_DATABASE}")
    finally:
        await admin.close()
    url = embedded.plan.postgres.url(password=password, database=SYSTEM_DATABASE)
    DBOS(config=DBOSConfig(name="bench", system_database_url=url, log_level="ERROR", enable_otlp=False))
    trades = DurableTrade(desk)
    DBOS.launch()
    try:
        yield Durable(desk, trades)
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=5)
