"""A worker process: `python worker.py --role pipeline`, `sealer`, or `broker` for the account of its environment.

Everything is wired here by hand: settings → engine, Temporal client, broker → activities → Worker.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities import leases
from activities.commands import CommandActivities
from activities.comparing import ComparingActivities
from activities.concluding import ConcludingActivities
from activities.deciding import DecidingActivities
from activities.failures import FailureInterceptor
from activities.feed import FeedActivities, Pace
from activities.feed_books import FeedBooks
from activities.reservation_sweeper import ReservationSweeper
from activities.reserving import ReservingTogether
from activities.sender import Sender
from activities.sends import SenderActivities
from activities.stops import StopActivities
from activities.sweeps import SweepActivities
from activities.trades import TradeActivities
from activities.triggers import Triggers
from activities.watch import see_mismatch
from audit.sealer import run_sealer
from brokers.mt5.adapter import open_broker
from brokers.protocol import AccountReading
from db.accounts import Account
from db.engine import make_engine
from db.instruments import bound_slippage
from db.runs import await_run
from db.safety import UnsafeDatabase, check_safety
from domain.errors import BrokerMismatch, PipelineError
from domain.reconciliation import RunCause, Thresholds
from logs import log_to_stderr
from settings import BrokerSettings, PipelineSettings, Profile, SealerSettings, SettingsError
from workflows.discrepancy import DiscrepancyWorkflow
from workflows.emergency_stop import EmergencyStopWorkflow
from workflows.feed import FeedInput, FeedWorkflow
from workflows.feed import start_options as feed_options
from workflows.queues import PIPELINE, broker_queue
from workflows.reconciliation import ReconciliationWorkflow
from workflows.reconciliation_schedule import keep_schedule, start_run
from workflows.reversal import ReversalWorkflow
from workflows.stop_keeping import keep_stops
from workflows.trade import TradeWorkflow

# Longer than the slowest broker call: a send in flight ends before the worker does.
DRAIN_MARGIN = timedelta(seconds=5)
SWEEP_SECONDS = 15.0
# How long a sender that has taken up its account waits for the first run before it says that it serves.
FIRST_RUN_SECONDS = 30.0

SETTINGS: dict[str, type[PipelineSettings | BrokerSettings | SealerSettings]] = {
    "pipeline": PipelineSettings,
    "broker": BrokerSettings,
    "sealer": SealerSettings,
}

log = logging.getLogger(__name__)


def now() -> datetime:
    return datetime.now(UTC)


async def run_pipeline(settings: PipelineSettings, stopping: asyncio.Event) -> None:
    client = await Client.connect(**settings.temporal.connect_options())
    engine = make_engine(settings.database_url, application="pipeline")
    reserving = ReservingTogether(engine, data_age_max=settings.quote_age_max, now=now)
    worker = Worker(
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
            *TradeActivities(engine, reserving=reserving, now=now).activities,
            *StopActivities(engine).activities,
            *make_concluding(settings, engine).activities,
            *DecidingActivities(engine, now=now).activities,
        ],
        interceptors=[FailureInterceptor()],
        # The sandbox watches over determinism in tests and replays; in service it costs a quarter of the speed.
        workflow_runner=SandboxedWorkflowRunner() if settings.sandbox else UnsandboxedWorkflowRunner(),
        # New trades come over the normal queue, running ones over the sticky one; newcomers need their share.
        nonsticky_to_sticky_poll_ratio=0.6,
        # After a kill, open workflows wait this long for the worker that is gone.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(seconds=10),
    )
    try:
        async with worker, asyncio.TaskGroup() as tasks:
            sweeper = ReservationSweeper(engine, client, now=now)
            keeping = [
                tasks.create_task(keep_stops(engine, client)),
                tasks.create_task(keep_sweeping(sweeper)),
            ]
            print("pipeline worker ready", flush=True)
            await stopping.wait()
            for task in keeping:
                task.cancel()
    finally:
        await engine.dispose()


def make_concluding(settings: PipelineSettings, engine: AsyncEngine) -> ConcludingActivities:
    thresholds = Thresholds(review=settings.reconciliation_review_usd, stop=settings.reconciliation_stop_usd)
    return ConcludingActivities(engine, thresholds=thresholds, stop_all=settings.reconciliation_stops_all, now=now)


async def keep_sweeping(sweeper: ReservationSweeper) -> None:
    """End reservations that nobody carries on, now and then."""
    while True:
        try:
            await sweeper.sweep()
        except (SQLAlchemyError, OSError, RPCError, PipelineError) as error:
            log.warning("the reservations could not be looked after: %s", error)
        await asyncio.sleep(SWEEP_SECONDS)


async def run_broker(settings: BrokerSettings, stopping: asyncio.Event) -> None:
    client = await Client.connect(**settings.temporal.connect_options())
    engine = make_engine(settings.database_url, application=f"broker-{settings.account_slug}")
    account, lease = await leases.take(
        engine,
        settings.account_slug,
        terminal=f"{settings.terminal}:{settings.terminal_path or 'default'}",
        ttl=settings.lease_ttl,
        grace=settings.call_deadline + settings.absence_quiet,
    )
    broker = open_broker(
        terminal=settings.terminal.value,
        path=settings.terminal_path,
        login=settings.login,
        password=settings.password,
        server=settings.server,
        server_zone=settings.server_zone,
        call_deadline=settings.call_deadline,
        lock_file=settings.terminal_lock,
        lease_number=lease.number,
    )
    # Renewed while it attaches, too: a terminal may take longer to start than a lease lasts.
    # On a connection of its own: a busy pool must never cost us the lease.
    lease_engine = make_engine(settings.database_url, application=f"lease-{account.slug}", pool_size=1)
    keeping = asyncio.create_task(leases.keep(lease_engine, lease, ttl=settings.lease_ttl))
    try:
        sender = Sender(
            account=account,
            lease=lease,
            broker=broker,
            wake_feed=asyncio.Event(),
            absence_quiet=settings.absence_quiet,
            slippage_percent_max=settings.slippage_threshold_percent,
            ready_at=now(),
        )
        try:
            check_account(await broker.connect(), account)
        except BrokerMismatch as error:
            # Whoever starts this process again reads its last line; everybody else, the books.
            await see_mismatch(engine, sender, error, now=now())
            raise
        sender = replace(sender, ready_at=now())
        feed = make_feed(settings, engine, sender, client)
        await read_first(settings, engine, account, feed)
        async with broker_worker(settings, engine, client, sender, feed):
            await begin_watching(settings, client, account)
            await first_run(client, sender, keeping=keeping, stopping=stopping)
            print("broker worker ready", flush=True)
            await first_of(keeping, stopping)
    finally:
        keeping.cancel()
        await broker.close()
        await lease_engine.dispose()
        await engine.dispose()


async def read_first(
    settings: BrokerSettings, engine: AsyncEngine, account: Account, feed: FeedActivities
) -> None:
    """Ready means that an order could be decided: its symbol, its quote and its account are in the books."""
    async with engine.begin() as connection:
        await await_run(connection, account.id, now=now())
    await feed.read_instruments_now()
    await set_slippage_bounds(engine, account, settings.slippage_threshold_points)
    await feed.read_now()


async def begin_watching(settings: BrokerSettings, client: Client, account: Account) -> None:
    """Have the account followed, and reconciled at its interval."""
    await client.start_workflow(
        FeedWorkflow.run, FeedInput(account_slug=account.slug), **feed_options(account.slug)
    )
    await keep_schedule(client, account.slug, interval=settings.reconciliation_interval)


async def first_run(
    client: Client, sender: Sender, *, keeping: asyncio.Task[None], stopping: asyncio.Event
) -> None:
    """Compare books and broker before anything is opened; without an end, trading waits for the next run's."""
    run = await start_run(
        client, sender.account.slug, cause=RunCause.STARTUP, key=f"startup-{sender.lease.number}"
    )
    ended, told = asyncio.ensure_future(run.result()), asyncio.create_task(stopping.wait())
    await asyncio.wait({ended, told, keeping}, timeout=FIRST_RUN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    try:
        if ended.done():
            log.info("the first reconciliation: %s", ended.result().verdict)
            return
    except WorkflowFailureError as error:
        log.warning("the first reconciliation failed: %s", error.cause)
    ended.cancel()
    log.warning("nothing is opened before a reconciliation has ended")


def make_feed(settings: BrokerSettings, engine: AsyncEngine, sender: Sender, client: Client) -> FeedActivities:
    triggers = Triggers(
        engine, sender, data_age_max=settings.quote_age_max, link_patience=settings.link_patience, now=now
    )

    async def reconnected() -> None:
        try:
            key = f"reconnect-{now():%Y%m%dT%H%M%S}"
            await start_run(client, sender.account.slug, cause=RunCause.RECONNECT, key=key)
        except RPCError as error:
            log.warning("the reconciliation after a reconnect could not be begun; the next one is due: %s", error)

    return FeedActivities(
        engine,
        sender,
        client,
        pace=Pace(interval=settings.feed_interval),
        now=now,
        triggers=triggers,
        reconnected=reconnected,
    )


def check_account(seen: AccountReading, account: Account) -> None:
    """Refuse a terminal whose account is not kept as the books keep it."""
    ours, theirs = (account.margin_mode, account.currency), (seen.margin_mode, seen.currency)
    if ours != theirs:
        raise BrokerMismatch(
            f"account {account.slug} is kept as {' in '.join(ours)}, the terminal shows {' in '.join(theirs)}"
        )


async def set_slippage_bounds(engine: AsyncEngine, account: Account, points: Mapping[str, Decimal]) -> None:
    async with engine.begin() as connection:
        unknown = await bound_slippage(connection, account.id, points)
    if unknown:
        raise SettingsError(
            f"SLIPPAGE_THRESHOLD_POINTS names {', '.join(unknown)}, which the broker does not list"
        )


def broker_worker(
    settings: BrokerSettings, engine: AsyncEngine, client: Client, sender: Sender, feed: FeedActivities
) -> Worker:
    orders = SenderActivities(engine, sender, now=now)
    commands = CommandActivities(engine, sender, data_age_max=settings.quote_age_max, now=now)
    sweeps = SweepActivities(engine, sender)
    return Worker(
        client,
        task_queue=broker_queue(sender.account.slug),
        activities=[
            *orders.activities,
            *commands.activities,
            *feed.activities,
            *sweeps.activities,
            *ComparingActivities(engine, sender, FeedBooks(engine, sender, client, now=now), now=now).activities,
        ],
        interceptors=[FailureInterceptor()],
        graceful_shutdown_timeout=settings.call_deadline + DRAIN_MARGIN,
    )


async def first_of(keeping: asyncio.Task[None], stopping: asyncio.Event) -> None:
    """Serve until told to stop; a lost lease ends the service with its error."""
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({keeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if keeping.done():
        waiting.cancel()
        keeping.result()


async def serve(role: str) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)
    for number in numbers:
        try:
            loop.add_signal_handler(number, stopping.set)
        except NotImplementedError:
            # The loop of Windows takes none; the Ctrl-C of a service's wrapper comes this way and wakes the loop.
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping.set))
    settings = SETTINGS[role].from_environ(os.environ)
    await check_safety(settings.database_url, durable=settings.profile is Profile.PRODUCTION)
    match settings:
        case PipelineSettings():
            await run_pipeline(settings, stopping)
        case BrokerSettings():
            await run_broker(settings, stopping)
        case SealerSettings():
            print("sealer ready", flush=True)
            await run_sealer(settings, stopping, now=now)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--role", choices=list(SETTINGS), required=True)
    role = parser.parse_args().role
    log_to_stderr()
    try:
        asyncio.run(serve(role))
    except (SettingsError, UnsafeDatabase) as error:
        print(f"{role} worker: {error}", file=sys.stderr)
        return 2
    except PipelineError as error:
        print(f"{role} worker: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
