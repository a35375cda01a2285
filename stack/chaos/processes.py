"""Kills by the kernel: the embedded stack as it is, trades over REST, and one program killed or frozen in each.

What happens is real, so a seed chooses the blow and its moment, not the run: the same seed may meet another step.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from brokers.simulator.control import Control
from db.engine import make_engine
from db.seed import account_id
from settings import Environment
from stack import programs
from stack.chaos.judgement import Judgement
from stack.chaos.kills import Kill
from stack.chaos.verdicts import Violation
from stack.demo_account import ACCOUNT
from stack.errors import StackError
from stack.launcher import start_all
from stack.logs import Foreground
from stack.programs import Plan, Ports
from stack.rest import DEMO_TRADER, DEMO_TRADER_SECRET
from stack.scratch import free_port
from stack.state import StateFolder
from stack.supervisor import Program, Supervisor

# In the order in which they are started.
PROGRAMS: dict[str, Callable[[Plan], Program]] = {
    "postgres": programs.postgres,
    "temporal": programs.temporal,
    "terminal": programs.simulator,
    "broker": programs.broker_worker,
    "pipeline": programs.pipeline_worker,
    "api": programs.api,
}
VICTIMS = ("broker", "broker", "broker", "pipeline", "pipeline", "api", "temporal", "postgres", "terminal")
# Within about this long an order is accepted, sent, filled, booked and settled.
MOMENTS_SECONDS = 0.15
FREEZES_SECONDS = (0.5, 2.0, 5.0)
FREEZE_SHARE = 0.25
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.1
CALM_SECONDS = 5.0


@asynccontextmanager
async def household(handed_on: Mapping[str, str] | None = None) -> AsyncIterator["Household"]:
    """A whole stack in a temporary folder, on ports of its own; `handed_on` is added to its environment."""
    with tempfile.TemporaryDirectory(prefix="nexus-chaos-") as folder:
        names = ("postgres", "temporal", "temporal_ui", "simulator", "api")
        plan = Plan(
            state=StateFolder(Path(folder) / "state"),
            ports=Ports(**{name: free_port() for name in names}),
            replay=None,
            daily_loss_limit=Decimal(1_000_000),
            position_size_max=Decimal(10_000_000),
            handed_on=handed_on or {},
        )
        plan.state.make()
        silent = Foreground(quiet=True)
        async with Supervisor(logs=plan.state.logs, foreground=silent) as supervisor:
            await start_all(plan, supervisor, silent)
            stored = {"DATABASE_URL_FILE": str(plan.secrets.path("database_url_owner"))}
            engine = make_engine(Environment(stored).database_url(), application="chaos")
            try:
                yield Household(plan, supervisor, engine)
            finally:
                await engine.dispose()


class Household:
    """Whatever of it ends is started again, as an operator's supervisor would."""

    def __init__(self, plan: Plan, supervisor: Supervisor, engine: AsyncEngine) -> None:
        self.plan = plan
        self._supervisor = supervisor
        self._engine = engine

    @property
    def ports(self) -> Ports:
        return self.plan.ports

    @property
    def pids(self) -> dict[str, int]:
        return self._supervisor.pids

    @asynccontextmanager
    async def logged_in(self) -> AsyncIterator[httpx.AsyncClient]:
        """The API as the trader calls it."""
        async with httpx.AsyncClient(base_url=self.plan.api_url, timeout=10, trust_env=False) as api:
            password = self.plan.secrets.read_or_make(DEMO_TRADER_SECRET)
            answer = await self._patiently(
                lambda: api.post("/api/auth/login", json={"username": DEMO_TRADER, "password": password})
            )
            api.headers["Authorization"] = f"Bearer {answer['access_token']}"
            yield api

    async def start_patiently(self, program: Program) -> None:
        """Start a program again and again until it stays."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                await self._supervisor.start(program)
            except StackError:
                self._supervisor.forget_ended()
                if time.monotonic() > give_up_at:
                    raise
            else:
                return

    async def run(self, seed: int) -> Kill:
        """Post an order, strike, and wait until its trade is settled; StackError if it never is."""
        rng = Random(f"kill:{seed}")  # noqa: S311  # repeatable, not secret
        victim, after = rng.choice(VICTIMS), rng.uniform(0, MOMENTS_SECONDS)
        frozen = rng.choice(FREEZES_SECONDS) if rng.random() < FREEZE_SHARE else 0.0
        side = rng.choice(("buy", "sell"))
        # Logged in before the blow, so that the order is the first thing that it meets.
        async with self.logged_in() as api:
            posting = asyncio.create_task(self.post(api, f"kill-{seed}", side))
            await asyncio.sleep(after)
            if frozen:
                await self._freeze(victim, frozen)
            else:
                await self._supervisor.kill_one(victim)
            await self._revive()
            trade = await self.settled(api, await posting)
        return Kill(seed=seed, victim=victim, frozen_seconds=frozen, after_seconds=after, state=trade["state"])

    async def judge(self) -> list[Violation]:
        """Both sides' books, once everything has had time to arrive."""
        await asyncio.sleep(CALM_SECONDS)
        with Control("127.0.0.1", self.plan.ports.simulator) as control:
            audit = control.books()
        _, violations = await Judgement(
            engine=self._engine,
            account_id=account_id(ACCOUNT),
            orders=audit.orders,
            deals=audit.deals,
            positions=audit.positions,
            broken_before=frozenset(),
        ).pronounce()
        return violations

    async def _freeze(self, name: str, seconds: float) -> None:
        pid = self._supervisor.pids[name]
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    async def _revive(self) -> None:
        """Start again what was killed, and what ended because of it, until all of it runs."""
        self._supervisor.forget_ended()
        while missing := [name for name in PROGRAMS if name not in self._supervisor.pids]:
            await self.start_patiently(PROGRAMS[missing[0]](self.plan))
            self._supervisor.forget_ended()

    async def post(self, api: httpx.AsyncClient, client_order_id: str, side: str) -> str:
        """As a careful client does: the same order under the same id, until there is an answer."""
        order = {"symbol": "EURUSD", "side": side, "volume": "0.01", "type": "market", "wait_ms": 0}
        body = {**order, "client_order_id": client_order_id}
        trade = await self._patiently(lambda: api.post("/api/trading/execute", json=body))
        return str(trade["id"])

    async def settled(self, api: httpx.AsyncClient, trade_id: str) -> dict[str, Any]:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            trade = await self._patiently(lambda: api.get(f"/api/trading/trades/{trade_id}"))
            if trade["closed_at"] is not None:
                return trade
            if time.monotonic() > give_up_at:
                raise StackError(f"trade {trade_id} is not settled after {PATIENCE_SECONDS:.0f} s: {trade}")
            await asyncio.sleep(POLL_SECONDS)

    async def _patiently(self, ask: Callable[[], Any]) -> dict[str, Any]:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            told: object
            try:
                answer = await ask()
            except httpx.TransportError as error:
                told = error
            else:
                if answer.is_success:
                    content: dict[str, Any] = answer.json()
                    return content
                told = answer.text
                # A trade that was answered with 202 is shown from the moment that a worker has stored it.
                if answer.is_client_error and answer.status_code != httpx.codes.NOT_FOUND:
                    raise StackError(f"the API refused: {told}")
            if time.monotonic() > give_up_at:
                raise StackError(f"no answer from the API: {told}")
            await asyncio.sleep(POLL_SECONDS)
