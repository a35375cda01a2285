"""A whole trading desk for tests: real database, real Temporal, real simulated terminal, both workers."""

import asyncio
import itertools
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle
from temporalio.worker import Worker

from activities import leases
from activities.commands import CommandActivities
from activities.comparing import ComparingActivities
from activities.concluding import ConcludingActivities
from activities.deciding import DecidingActivities
from activities.failures import FailureInterceptor
from activities.feed import FeedActivities, Pace
from activities.feed_books import FeedBooks
from activities.reserving import ReservingTogether
from activities.sender import Sender
from activities.sends import SenderActivities
from activities.stops import StopActivities
from activities.sweeps import SweepActivities
from activities.trades import TradeActivities
from brokers.mt5.adapter import open_broker
from brokers.simulator.control import Control
from db import snapshots
from db.seed import NewAccount, let_trade, seed_account
from db.trades import Trade, read
from db.users import NewUser, Role, add_user
from domain.money import Lots
from domain.orders import OrderIntent, OrderState, OrderType, Side, TimeInForce
from domain.positions import MarginMode
from domain.reconciliation import Thresholds
from domain.trades import trade_id
from stack.scratch import Database
from tests.waiting import free_port, until
from workflows.discrepancy import DiscrepancyWorkflow
from workflows.emergency_stop import EmergencyStopWorkflow
from workflows.feed import FeedInput, FeedWorkflow
from workflows.feed import start_options as feed_options
from workflows.queues import PIPELINE, broker_queue
from workflows.reconciliation import ReconciliationWorkflow
from workflows.reversal import ReversalWorkflow
from workflows.trade import TradeWorkflow
from workflows.trade_messages import OPENED_UPDATE_ID, TradeAck, TradeInput, start_options

CHECKOUT = Path(__file__).resolve().parent.parent
ZONE = ZoneInfo("Europe/Athens")
LOGIN, SERVER, PASSWORD = 50001, "Simulated-Demo", "simulated"
CALL_DEADLINE = timedelta(seconds=2)
QUIET = timedelta(seconds=1)
# What moved so shortly ago is kept out of a reconciliation.
COMPARE_QUIET = timedelta(milliseconds=300)

_numbers = itertools.count(1)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True)
class Terminal:
    """The simulated terminal as a process of its own."""

    port: int
    state: Path
    options: tuple[str, ...]
    process: Process | None = None

    @property
    def path(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        command = [sys.executable, "-m", "brokers.simulator", "--port", str(self.port), "--state", str(self.state)]
        command += ["--login", str(LOGIN), "--password", PASSWORD, "--server", SERVER, "--seed", "7"]
        command += ["--time-zone", str(ZONE), *self.options]
        self.process = await create_subprocess_exec(*command, cwd=CHECKOUT, stdout=PIPE)
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 20)
        assert b"ready" in line, "the simulated terminal starts"

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


@dataclass(kw_only=True)
class Desk:
    database: Database
    client: Client
    terminal: Terminal
    slug: str
    account_id: UUID
    user_id: UUID
    sender: Sender
    control: Control
    engine: AsyncEngine
    stack: AsyncExitStack = field(repr=False)

    def intent(self, **changes: Any) -> OrderIntent:
        """A market order for 0.10 EURUSD; keyword arguments replace its fields."""
        client_order_id = changes.pop("client_order_id", None) or f"order-{next(_numbers)}"
        received_at = now()
        values: dict[str, Any] = {
            "trade_id": trade_id(self.user_id, client_order_id),
            "user_id": self.user_id,
            "account_id": self.account_id,
            "client_order_id": client_order_id,
            "body_hash": f"hash of {sorted(changes.items(), key=str)}",
            "symbol": "EURUSD",
            "side": Side.BUY,
            "order_type": OrderType.MARKET,
            "volume": Lots(Decimal("0.10")),
            "time_in_force": TimeInForce.GTC,
            "received_at": received_at,
            "submit_by": received_at + timedelta(seconds=10),
        }
        return OrderIntent(**{**values, **changes})

    async def execute(self, intent: OrderIntent) -> TradeAck:
        """Start the trade and wait until it is decided, as the API does."""
        _, ack = await self.open(intent)
        return ack

    async def open(self, intent: OrderIntent) -> tuple[WorkflowHandle[Any, Any], TradeAck]:
        trade = TradeInput(intent=intent, account_slug=self.slug)
        operation = WithStartWorkflowOperation(TradeWorkflow.run, trade, **start_options(trade))
        ack = await self.client.execute_update_with_start_workflow(
            TradeWorkflow.opened, start_workflow_operation=operation, id=OPENED_UPDATE_ID
        )
        return await operation.workflow_handle(), ack

    async def trade(self, intent: OrderIntent) -> Trade:
        async with self.engine.connect() as connection:
            return await read(connection, intent.trade_id)

    async def becomes(self, intent: OrderIntent, state: OrderState, *, timeout_seconds: float = 20.0) -> Trade:
        async def reached() -> bool:
            return (await self.trade(intent)).state is state

        await until(reached, what=f"trade to become {state}", timeout_seconds=timeout_seconds)
        return await self.trade(intent)

    async def settled(self, intent: OrderIntent) -> Trade:
        async def closed() -> bool:
            return (await self.trade(intent)).progress.closed_at is not None

        await until(closed, what="trade to be settled")
        return await self.trade(intent)

    async def scalar(self, statement: str, **parameters: Any) -> Any:
        async with self.engine.connect() as connection:
            return await connection.scalar(text(statement), parameters)

    async def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(statement), parameters)).mappings()]


@asynccontextmanager
async def open_desk(
    database: Database,
    client: Client,
    folder: Path,
    *,
    terminal_options: tuple[str, ...] = (),
    quiet: timedelta = QUIET,
    margin_mode: MarginMode = MarginMode.HEDGING,
    followed: bool = True,
) -> AsyncIterator[Desk]:
    """Start the terminal, seed an account with one trader, and run both workers in this process.

    An account that is not `followed` is read once, and then by what a test makes read it.
    """
    slug = f"desk-{next(_numbers)}-{uuid4().hex[:6]}"
    async with AsyncExitStack() as stack:
        options = ("--margin-mode", margin_mode, *terminal_options)
        terminal = Terminal(port=free_port(), state=folder / "terminal.sqlite", options=options)
        await terminal.start()
        stack.push_async_callback(terminal.stop)
        control = stack.enter_context(Control("127.0.0.1", terminal.port))
        owner = database.engine("owner")
        account_id, user_id = await seed(owner, slug, margin_mode)
        sender = await _sender(database.engine("broker"), terminal, slug=slug, folder=folder, quiet=quiet)
        stack.push_async_callback(sender.broker.close)
        await sender.broker.connect()
        async with database.engine("broker").begin() as connection:
            await snapshots.write_instruments(connection, account_id, await sender.broker.read_instruments())
        await stack.enter_async_context(pipeline_worker(database, client))
        await stack.enter_async_context(broker_worker(database, client, sender))
        if followed:
            await client.start_workflow(FeedWorkflow.run, FeedInput(account_slug=slug), **feed_options(slug))
            stack.push_async_callback(client.get_workflow_handle(f"feed-{slug}").terminate)
        else:
            pace = Pace(interval=timedelta(hours=1))
            await FeedActivities(database.engine("broker"), sender, client, pace=pace, now=now).read_now()
        desk = Desk(
            database=database,
            client=client,
            terminal=terminal,
            slug=slug,
            account_id=account_id,
            user_id=user_id,
            sender=sender,
            control=control,
            engine=owner,
            stack=stack,
        )
        await until(lambda: _has_quotes(desk), what="first quotes")
        yield desk


def pipeline_worker(database: Database, client: Client) -> Worker:
    engine = database.engine("pipeline")
    reserving = ReservingTogether(engine, data_age_max=timedelta(seconds=5), now=now)
    steps = TradeActivities(engine, reserving=reserving, now=now)
    return Worker(
        client,
        task_queue=PIPELINE,
        workflows=[
            TradeWorkflow,
            ReversalWorkflow,
            FeedWorkflow,
            EmergencyStopWorkflow,
            ReconciliationWorkflow,
            DiscrepancyWorkflow,
        ],
        activities=[
            *steps.activities,
            *StopActivities(engine).activities,
            *ConcludingActivities(engine, thresholds=Thresholds(), stop_all=False, now=now).activities,
            *DecidingActivities(engine, now=now).activities,
        ],
        interceptors=[FailureInterceptor()],
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


def broker_worker(database: Database, client: Client, sender: Sender) -> Worker:
    engine = database.engine("broker")
    orders = SenderActivities(engine, sender, now=now)
    commands = CommandActivities(engine, sender, data_age_max=timedelta(seconds=5), now=now)
    feed = FeedActivities(
        engine,
        sender,
        client,
        pace=Pace(interval=timedelta(milliseconds=50), instruments_interval=timedelta(milliseconds=500)),
        now=now,
    )
    books = FeedBooks(engine, sender, client, now=now)
    comparing = ComparingActivities(engine, sender, books, now=now, quiet=COMPARE_QUIET)
    return Worker(
        client,
        task_queue=broker_queue(sender.account.slug),
        activities=[
            *orders.activities,
            *commands.activities,
            *feed.activities,
            *SweepActivities(engine, sender).activities,
            *comparing.activities,
        ],
        interceptors=[FailureInterceptor()],
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


async def seed(engine: AsyncEngine, slug: str, margin_mode: MarginMode) -> tuple[UUID, UUID]:
    user_id = uuid4()
    async with engine.begin() as connection:
        account_id = await seed_account(
            connection,
            NewAccount(
                slug=slug,
                currency="USD",
                margin_mode=margin_mode,
                leverage=100,
                login=LOGIN,
                server=SERVER,
                day_zone="Europe/Athens",
                daily_loss_limit=Decimal(20_000),
                position_size_max=Decimal(1_000_000),
            ),
        )
        new = NewUser(id=user_id, username=f"u-{slug}", password_hash="unused", role=Role.TRADER)
        await add_user(connection, new, actor="test")
        await let_trade(connection, account=account_id, user_id=user_id)
    return account_id, user_id


async def _sender(engine: AsyncEngine, terminal: Terminal, *, slug: str, folder: Path, quiet: timedelta) -> Sender:
    account, lease = await leases.take(
        engine, slug, terminal=terminal.path, ttl=timedelta(hours=1), grace=timedelta(seconds=5)
    )
    broker = open_broker(
        terminal="simulated",
        path=terminal.path,
        login=LOGIN,
        password=PASSWORD,
        server=SERVER,
        server_zone=ZONE,
        call_deadline=CALL_DEADLINE,
        lock_file=folder / "terminal.lock",
        lease_number=lease.number,
    )
    return Sender(
        account=account,
        lease=lease,
        broker=broker,
        wake_feed=asyncio.Event(),
        absence_quiet=quiet,
        slippage_percent_max=Decimal("0.5"),
        ready_at=now(),
    )


async def _has_quotes(desk: Desk) -> bool:
    count = await desk.scalar(
        "SELECT count(*) FROM quotes q, account_snapshots s WHERE q.account_id = :id AND s.account_id = :id",
        id=desk.account_id,
    )
    return bool(count)
