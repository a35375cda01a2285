"""The API over real parts: PostgreSQL, Temporal and the pipeline's workers; only the broker is in memory."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest_asyncio
from fastapi import FastAPI
from google.protobuf.duration_pb2 import Duration
from temporalio import activity
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.commands import CommandActivities
from activities.comparing import ComparingActivities
from activities.concluding import ConcludingActivities
from activities.deciding import DecidingActivities
from activities.failures import FailureInterceptor
from activities.feed import FollowAccount
from activities.feed_books import FeedBooks
from activities.reserving import Reserving
from activities.sender import Sender
from activities.sends import SenderActivities
from activities.stops import StopActivities
from activities.sweeps import SweepAccount, Swept
from activities.trades import TradeActivities
from api.app import create_app
from api.tokens import Tokens
from db.accounts import Lease, read_account
from domain.reconciliation import Thresholds
from settings import ApiSettings, Bucket, Profile, TemporalSettings
from stack.scratch import Database, cloned_database
from stack.temporal import prepare_namespace
from tests.api.books import id_of, seed, session_of
from tests.api.broker import InstantBroker
from tests.api.showing import ShownBroker
from tests.waiting import until
from workflows.discrepancy import DiscrepancyWorkflow
from workflows.emergency_stop import EmergencyStopWorkflow
from workflows.queues import PIPELINE, broker_queue
from workflows.reconciliation import ReconciliationWorkflow
from workflows.reversal import ReversalWorkflow
from workflows.search_attributes import KEYS, STATE
from workflows.trade import TradeWorkflow

KEY = b"0123456789abcdef0123456789abcdef"
TTL = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class Api:
    """The running API: `call("trader", "GET", "/api/…")` asks as that user, `None` without a token.

    `broker` takes the orders of account demo, `shown` is what the reconciliation reads of account second.
    """

    database: Database
    broker: InstantBroker
    shown: ShownBroker
    temporal: Client
    settings: ApiSettings
    app: FastAPI
    http: httpx.AsyncClient

    def at(self, address: str) -> httpx.AsyncClient:
        """A client of the same application from another address."""
        return client_of(self.app, address=address)

    async def call(self, name: str | None, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**(bearer(name) if name else {}), **options.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **options)

    async def execute(self, body: dict[str, Any], *, name: str = "trader") -> httpx.Response:
        return await self.call(name, "POST", "/api/trading/execute", json=body)

    async def namespace_without_workers(self) -> ApiSettings:
        """The settings with a namespace of the same server in which nobody polls."""
        name = "idle"
        retention = Duration(seconds=30 * 86_400)
        await self.temporal.workflow_service.register_namespace(
            RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
        )
        target = self.temporal.service_client.config.target_host
        idle = await Client.connect(target, namespace=name)

        async def registered() -> bool:
            try:
                await prepare_namespace(idle, KEYS)
                listed = await idle.count_workflows(f"{STATE.name} = 'pending'")
            except RPCError:
                return False
            return listed.count == 0

        await until(registered, what="the namespace to be usable")
        return replace(self.settings, temporal=replace(self.settings.temporal, namespace=name))


def bearer(name: str) -> dict[str, str]:
    token = Tokens([KEY], ttl=TTL).issue(id_of(name), session_of(name), now=datetime.now(UTC))
    return {"Authorization": f"Bearer {token.text}"}


def order(client_order_id: str, **changes: Any) -> dict[str, Any]:
    body = {
        "client_order_id": client_order_id,
        "account": "demo",
        "symbol": "EURUSD",
        "side": "buy",
        "type": "market",
        "volume": "0.10",
        **changes,
    }
    return {field: value for field, value in body.items() if value is not ...}


@asynccontextmanager
async def opened(settings: ApiSettings) -> AsyncIterator[FastAPI]:
    """An application that runs in this process."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def client_of(app: FastAPI, *, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """An HTTP client that comes from the address."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://api.test")


@asynccontextmanager
async def running(settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of an application of its own."""
    async with opened(settings) as app, client_of(app) as http:
        yield http


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def api(migrated_template: str, temporal_env: WorkflowEnvironment) -> AsyncIterator[Api]:
    async with open_api(migrated_template, temporal_env.client) as api:
        yield api


@asynccontextmanager
async def open_api(migrated_template: str, client: Client) -> AsyncIterator[Api]:
    """The API, its books and its pipeline; one at a time, since its workers take the queues of all."""
    broker, shown = InstantBroker(), ShownBroker()
    broker.open_for_business.set()
    async with cloned_database(migrated_template, name="nexus_api_tests") as database:
        await seed(database.engine("owner"))
        settings = ApiSettings(
            profile=Profile.EMBEDDED,
            database_url=database.urls["api"],
            temporal=TemporalSettings(
                codec_keys=(),
                address=client.service_client.config.target_host,
                namespace=client.namespace,
                ui_url="http://temporal.test",
                api_key=None,
                tls_ca_file=None,
                tls_cert_file=None,
                tls_key_file=None,
            ),
            secret_key=KEY,
            secret_key_previous=None,
            algorithm="HS256",
            access_token_ttl=TTL,
            session_ttl=timedelta(hours=12),
            session_idle=timedelta(minutes=30),
            two_persons=False,
            webauthn_origin="https://desk.test",
            quote_age_max=timedelta(hours=1),
            rate_limits=dict.fromkeys(Bucket),
            redis_url=None,
            host="127.0.0.1",
            port=8002,
            tls_files=None,
            cors_origins=(),
            trusted_proxies=None,
        )
        async with _pipeline(client, database, broker, shown), opened(settings) as app, client_of(app) as http:
            yield Api(
                database=database,
                broker=broker,
                shown=shown,
                temporal=client,
                settings=settings,
                app=app,
                http=http,
            )


@asynccontextmanager
async def _pipeline(
    client: Client, database: Database, broker: InstantBroker, shown: ShownBroker
) -> AsyncIterator[None]:
    """The workers of the pipeline; workflows that are still open at the end are terminated."""
    engine = database.engine("pipeline")
    reserving = Reserving(engine, data_age_max=timedelta(hours=1), now=_now)
    steps = TradeActivities(engine, reserving=reserving, now=_now)
    sending, reading = await _sender(database, broker, "demo"), await _sender(database, shown, "second")
    submits = SenderActivities(database.engine("broker"), sending, now=_now)
    commands = CommandActivities(database.engine("broker"), sending, data_age_max=timedelta(hours=1), now=_now)
    shared: dict[str, Any] = {"interceptors": [FailureInterceptor()]}
    pipeline = Worker(
        client,
        task_queue=PIPELINE,
        workflows=[
            TradeWorkflow,
            ReversalWorkflow,
            EmergencyStopWorkflow,
            ReconciliationWorkflow,
            DiscrepancyWorkflow,
        ],
        activities=[
            *steps.activities,
            *StopActivities(engine).activities,
            *ConcludingActivities(engine, thresholds=Thresholds(), stop_all=False, now=_now).activities,
            *DecidingActivities(engine, now=_now).activities,
        ],
        workflow_runner=UnsandboxedWorkflowRunner(),
        **shared,
    )
    sender = Worker(
        client,
        task_queue=broker_queue("demo"),
        activities=[*submits.activities, *commands.activities, nothing_new, nothing_left],
        **shared,
    )
    # The second account has nobody who trades on it, but a stop asks there too, and it is reconciled.
    books = FeedBooks(database.engine("broker"), reading, client, now=_now)
    comparing = ComparingActivities(database.engine("broker"), reading, books, now=_now)
    second = Worker(
        client, task_queue=broker_queue("second"), activities=[nothing_left, *comparing.activities], **shared
    )
    async with pipeline, sender, second:
        try:
            yield
        finally:
            async for left in client.list_workflows("ExecutionStatus = 'Running'"):
                await _terminate(client, left.id)


async def _terminate(client: Client, workflow_id: str) -> None:
    try:
        await client.get_workflow_handle(workflow_id).terminate("end of the tests")
    except RPCError as error:
        # The list is a moment old: it may have ended by itself since.
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


@activity.defn(name="refresh")
async def nothing_new(step: FollowAccount) -> None:
    """The broker in memory has no market to read; the tests say what it shows."""


@activity.defn(name="sweep")
async def nothing_left(step: SweepAccount) -> Swept:
    """The broker in memory holds nothing that a stop would close."""
    return Swept(positions=(), orders=(), cancelled=(), left=())


async def _sender(database: Database, broker: InstantBroker | ShownBroker, slug: str) -> Sender:
    async with database.engine("broker").connect() as connection:
        account = await read_account(connection, slug)
    return Sender(
        account=account,
        lease=Lease(
            account_id=account.id, number=3, holder="test:1:1", terminal="test", taken_at=datetime.now(UTC)
        ),
        broker=broker,  # type: ignore[arg-type]
        wake_feed=asyncio.Event(),
        absence_quiet=timedelta(seconds=1),
        slippage_percent_max=Decimal("0.5"),
        ready_at=datetime.now(UTC),
    )


def _now() -> datetime:
    return datetime.now(UTC)


def elsewhere(settings: ApiSettings, *, address: str) -> ApiSettings:
    """The settings with the workflow server at another address."""
    return replace(settings, temporal=replace(settings.temporal, address=address))


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
