"""A sender that sleeps through its lease, as on a machine that was suspended, and wakes when another serves.

Real worker processes, stopped and continued by the operating system.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from temporalio.client import Client

from brokers.simulator.control import Control, Send
from brokers.simulator.faults import Delay, Fault
from db.trades import Trade, read
from domain.money import Lots
from domain.orders import OrderIntent, OrderState, OrderType
from domain.positions import MarginMode
from domain.trades import trade_id
from stack.scratch import Database
from tests.desk import CHECKOUT, LOGIN, PASSWORD, SERVER, ZONE, Terminal, now, pipeline_worker, seed
from tests.factories import lots, make_intent, price
from tests.restoring import copied
from tests.waiting import free_port, until
from workflows.trade import TradeWorkflow
from workflows.trade_messages import TradeInput, start_options

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="stops processes and finds their children by /proc"),
]

LEASE_SECONDS = 2
READY_WITHIN_SECONDS = 30.0
# Long enough to stop the processes in the middle of the call.
HELD_BACK = Delay(ms=1500)


@dataclass(kw_only=True)
class House:
    """An account with its books and its terminal; whoever serves it is a process of its own."""

    database: Database
    client: Client
    terminal: Terminal
    control: Control
    slug: str
    account_id: UUID
    user_id: UUID
    folder: Path

    def environ(self, *, state: str) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONUNBUFFERED": "1",
            "NEXUS_PROFILE": "embedded",
            "DATABASE_URL": self.database.urls["broker"],
            "TEMPORAL_ADDRESS": self.client.service_client.config.target_host,
            "TEMPORAL_NAMESPACE": self.client.namespace,
            "STATE_DIR": str(self.folder / state),
            "BROKER_ACCOUNT": self.slug,
            "MT5_TERMINAL": "simulated",
            "MT5_PATH": self.terminal.path,
            "MT5_LOGIN": str(LOGIN),
            "MT5_PASSWORD": PASSWORD,
            "MT5_SERVER": SERVER,
            "MT5_SERVER_ZONE": str(ZONE),
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "MT5_CALL_DEADLINE_MS": "3000",
            "ABSENCE_QUIET_SECONDS": "1",
        }

    @asynccontextmanager
    async def worker(self, *, state: str = "here") -> AsyncIterator[Process]:
        """A broker worker that is ready; `state` is where it keeps the lock of the terminal."""
        process = await create_subprocess_exec(
            *(sys.executable, "worker.py", "--role", "broker"),
            cwd=CHECKOUT,
            env=self.environ(state=state),
            stdout=PIPE,
            stderr=STDOUT,
        )
        assert process.stdout is not None
        try:
            said = b""
            async with asyncio.timeout(READY_WITHIN_SECONDS):
                while b"broker worker ready" not in said:
                    line = await process.stdout.readline()
                    assert line, f"the broker worker ended: {said.decode()}"
                    said += line
            draining = asyncio.create_task(process.stdout.read())
            yield process
            draining.cancel()
        finally:
            for pid in [*children_of(process.pid), process.pid]:
                end(pid)
            await process.wait()

    async def sent_and_held_back(self, op: str, held_back: Fault = HELD_BACK) -> OrderIntent:
        """Start a trade, and return once its sender is in the midst of the terminal's answer to `op`."""
        self.control.script("EURUSD", [held_back], op=op)
        intent = self.intent(lots("0.10"))
        await self.open(intent)
        await until(partial(self._claimed, intent), what="the send to be claimed")
        await until(partial(self._held_back, op), what=f"the call of {op}")
        return intent

    def intent(self, volume: Lots) -> OrderIntent:
        key = uuid4().hex
        return make_intent(
            trade_id=trade_id(self.user_id, key),
            user_id=self.user_id,
            account_id=self.account_id,
            client_order_id=key,
            volume=volume,
            received_at=now(),
            # Beyond the sleep, so that no deadline keeps a late order in.
            submit_by=now() + timedelta(minutes=2),
        )

    async def open(self, intent: OrderIntent) -> None:
        trade = TradeInput(intent=intent, account_slug=self.slug)
        await self.client.start_workflow(TradeWorkflow.run, trade, **start_options(trade))

    async def trade(self, intent: OrderIntent) -> Trade:
        async with self.database.engine("owner").connect() as connection:
            return await read(connection, intent.trade_id)

    async def settled(self, intent: OrderIntent) -> Trade:
        await until(partial(self._closed, intent), what="the trade to be settled", timeout_seconds=40)
        return await self.trade(intent)

    async def scalar(self, statement: str) -> object:
        async with self.database.engine("owner").connect() as connection:
            found: object = await connection.scalar(text(statement))
            return found

    def holder_of_the_lock(self) -> int:
        """The child that talks to the terminal; another waits beside it to take its place."""
        return int((self.folder / "here" / f"terminal-{self.slug}.lock").read_text().split()[0])

    def sends(self, trade: Trade) -> list[Send]:
        return [send for send in self.control.books().sends if send.magic == trade.progress.magic]

    async def is_reserved(self, intent: OrderIntent) -> bool:
        query = f"SELECT count(*) FROM risk_reservations WHERE trade_id = '{intent.trade_id}'"
        return bool(await self.scalar(query))

    async def is_decided_or_late(self, intent: OrderIntent) -> bool:
        return (await self.trade(intent)).progress.final or now() > intent.submit_by + timedelta(seconds=2)

    async def is_working(self, intent: OrderIntent) -> bool:
        return (await self.trade(intent)).state is OrderState.WORKING

    async def has_sent(self, intent: OrderIntent) -> bool:
        return len(self.sends(await self.trade(intent))) == 1

    def executions(self, trade: Trade) -> int:
        return self.control.counts().get(trade.progress.magic, 0)

    async def lease_has_run_out(self) -> bool:
        return bool(await self.scalar("SELECT lease_expires_at < clock_timestamp() FROM broker_accounts"))

    async def _claimed(self, intent: OrderIntent) -> bool:
        return bool(await self.scalar(f"SELECT count(*) FROM send_attempts WHERE trade_id = '{intent.trade_id}'"))

    async def _held_back(self, op: str) -> bool:
        return any(call.op == op for call in self.control.played())

    async def _closed(self, intent: OrderIntent) -> bool:
        query = f"SELECT count(*) FROM trade_ledger WHERE id = '{intent.trade_id}' AND closed_at IS NOT NULL"
        return bool(await self.scalar(query))


@pytest.fixture
async def house(database: Database, temporal_client: Client, tmp_path: Path) -> AsyncIterator[House]:
    slug = f"house-{uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        options = ("--margin-mode", MarginMode.HEDGING)
        terminal = Terminal(port=free_port(), state=tmp_path / "terminal.sqlite", options=options)
        await terminal.start()
        stack.push_async_callback(terminal.stop)
        control = stack.enter_context(Control("127.0.0.1", terminal.port))
        account_id, user_id = await seed(database.engine("owner"), slug, MarginMode.HEDGING)
        await stack.enter_async_context(pipeline_worker(database, temporal_client))
        yield House(
            database=database,
            client=temporal_client,
            terminal=terminal,
            control=control,
            slug=slug,
            account_id=account_id,
            user_id=user_id,
            folder=tmp_path,
        )
        await temporal_client.get_workflow_handle(f"feed-{slug}").terminate()


def children_of(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def tell(number: signal.Signals, *pids: int) -> None:
    for pid in pids:
        os.kill(pid, number)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_a_sender_that_sleeps_through_its_lease_finds_its_child_dead_and_sends_nothing(house: House) -> None:
    """Both at the same lock, as on one machine: the successor kills the child before it serves."""
    async with house.worker() as sleeper:
        intent = await house.sent_and_held_back("order_check")
        child = house.holder_of_the_lock()
        tell(signal.SIGSTOP, sleeper.pid, *children_of(sleeper.pid))
        await until(house.lease_has_run_out, what="the lease to run out")

        async with house.worker():
            assert is_gone(child)
            tell(signal.SIGCONT, sleeper.pid)
            assert await asyncio.wait_for(sleeper.wait(), 20) != 0

            ended = await house.settled(intent)
            assert ended.state in {OrderState.DENIED, OrderState.REJECTED}
            assert house.sends(ended) == []


async def test_a_sender_that_wakes_elsewhere_is_refused_by_its_old_lease_number(house: House) -> None:
    """Each with a lock of its own, as on two machines: nothing but the number keeps the late order out."""
    async with house.worker(state="there") as sleeper:
        intent = await house.sent_and_held_back("order_check")
        children = children_of(sleeper.pid)
        tell(signal.SIGSTOP, sleeper.pid, *children)
        await until(house.lease_has_run_out, what="the lease to run out")

        async with house.worker(state="here"):
            assert house.sends(await house.trade(intent)) == []
            # The child first: its worker, once awake, would end it for its missed deadline.
            tell(signal.SIGCONT, *children)
            await until(partial(house.has_sent, intent), what="the late order")
            tell(signal.SIGCONT, sleeper.pid)
            assert await asyncio.wait_for(sleeper.wait(), 20) != 0

            ended = await house.settled(intent)
            (late,) = house.sends(ended)
            assert "fenced" in str(late.answer)
            # Either answer is true: the broker proved it, or the terminal let nothing out.
            assert ended.state in {OrderState.DENIED, OrderState.REJECTED}
            assert house.executions(ended) == 0

            following = house.intent(lots("0.20"))
            await house.open(following)
            assert (await house.settled(following)).state is OrderState.FILLED
            assert house.control.books().positions[0].magic == (await house.trade(following)).progress.magic


async def test_an_order_that_left_while_its_worker_slept_is_found_by_the_next_and_booked_once(
    house: House,
) -> None:
    async with house.worker() as sleeper:
        intent = await house.sent_and_held_back("order_check")
        # The child is awake: it sends, and nobody reads its answer.
        tell(signal.SIGSTOP, sleeper.pid)
        await until(house.lease_has_run_out, what="the lease to run out")

        async with house.worker():
            ended = await house.settled(intent)
            tell(signal.SIGCONT, sleeper.pid)

            assert await asyncio.wait_for(sleeper.wait(), 20) != 0
            assert (ended.state, ended.progress.filled_volume) == (OrderState.FILLED, intent.volume)
            assert await house.trade(intent) == ended
            assert (len(house.sends(ended)), house.executions(ended)) == (1, 1)


async def test_a_child_that_stops_in_its_send_is_killed_and_its_order_found(house: House) -> None:
    async with house.worker() as worker:
        intent = await house.sent_and_held_back("order_send", Delay(ms=60_000))
        child = house.holder_of_the_lock()
        tell(signal.SIGSTOP, child)

        ended = await house.settled(intent)

        assert (ended.state, ended.progress.filled_volume) == (OrderState.FILLED, intent.volume)
        assert (len(house.sends(ended)), house.executions(ended)) == (1, 1)
        assert is_gone(child)
        assert worker.returncode is None


async def test_a_claim_that_the_books_have_forgotten_with_its_worker_is_never_taken_for_not_sent(
    house: House,
) -> None:
    """The machine dies with an order just sent, and the books come back from before the claim."""
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(house.worker())
        house.control.script("EURUSD", [Delay(ms=60_000)])
        intent = replace(
            house.intent(lots("0.10")),
            order_type=OrderType.LIMIT,
            price=price("1.00000"),
            submit_by=now() + timedelta(seconds=5),
        )
        async with house.database.engine("owner").begin() as connection:
            await connection.execute(text("LOCK TABLE send_attempts IN ACCESS EXCLUSIVE MODE"))
            await house.open(intent)
            await until(partial(house.is_reserved, intent), what="the reservation")
        before = await stack.enter_async_context(copied(house.database))
        await until(partial(house.has_sent, intent), what="the order at the broker")
        for pid in [*children_of(worker.pid), worker.pid]:
            end(pid)
        await before.put_back()

        await until(partial(house.is_decided_or_late, intent), what="the deadline")
        async with house.worker():
            await until(partial(house.is_working, intent), what="the order to be taken up")
            assert len(house.sends(await house.trade(intent))) == 1
