"""The embedded stack, started as `make up` starts it, in a folder and on ports of its own."""

import itertools
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from db.engine import make_engine
from settings import Environment
from stack import programs
from stack.logs import Foreground
from stack.ports import is_taken
from stack.programs import Plan, Ports
from stack.state import CHECKOUT, StateFolder
from stack.supervisor import Child, Program, Supervisor

# Nothing of the bench may be refused by a limit that it does not mean to meet.
DAILY_LOSS_LIMIT = Decimal(5_000_000)
POSITION_SIZE_MAX = Decimal(50_000_000)

FIRST_PORT, LAST_PORT = 20_000, 32_000


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A running stack, and the way to start programs beside it."""

    plan: Plan
    supervisor: Supervisor

    def engine(self, role: str, *, pool_size: int = 10) -> AsyncEngine:
        """An engine like those of the stack's own processes: owner, api, pipeline or broker."""
        return make_engine(self.database_url(role), application=f"bench {role}", pool_size=pool_size)

    def database_url(self, role: str) -> str:
        stored = {"DATABASE_URL_FILE": str(self.plan.secrets.path(f"database_url_{role}"))}
        return Environment(stored).database_url()

    async def start_terminal(self, name: str) -> str:
        """Run another simulated terminal beside the stack's own; returns its address."""
        state = StateFolder(self.plan.state.root / name)
        state.make()
        port = free_ports(1)[0]
        plan = replace(self.plan, state=state, ports=replace(self.plan.ports, simulator=port))
        await self.supervisor.start(replace(programs.simulator(plan), name=f"terminal-{name}"))
        return f"127.0.0.1:{port}"

    def terminal_password(self, name: str) -> str:
        return (self.plan.state.root / name / "secrets" / "terminal_password").read_text().strip()


@asynccontextmanager
async def embedded_stack(folder: Path) -> AsyncIterator[Embedded]:
    """Run the whole stack until the block ends; it keeps its books, with every flush to disk, in `folder`."""
    ports = free_ports(5)
    plan = Plan(
        state=StateFolder(folder),
        ports=Ports(postgres=ports[0], temporal=ports[1], temporal_ui=ports[2], simulator=ports[3], api=ports[4]),
        replay=None,
        daily_loss_limit=DAILY_LOSS_LIMIT,
        position_size_max=POSITION_SIZE_MAX,
        handed_on={},
    )
    plan.state.make()
    async with Supervisor(logs=plan.state.logs, foreground=Foreground(quiet=True)) as supervisor:
        await supervisor.start(_up(plan))
        yield Embedded(plan=plan, supervisor=supervisor)


def _up(plan: Plan) -> Program:
    ports = plan.ports

    async def ready(_: Child) -> bool:
        return plan.state.running() is not None

    return Program(
        name="stack",
        title="the embedded stack",
        command=(
            *(sys.executable, "-m", "stack", "up", "--state-dir", str(plan.state.root)),
            *("--postgres-port", str(ports.postgres), "--temporal-port", str(ports.temporal)),
            *("--temporal-ui-port", str(ports.temporal_ui), "--simulator-port", str(ports.simulator)),
            *("--api-port", str(ports.api)),
        ),
        environ={
            "PATH": os.defpath,
            "HOME": str(plan.state.root),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "DAILY_LOSS_LIMIT": str(plan.daily_loss_limit),
            "MAX_POSITION_SIZE": str(plan.position_size_max),
        },
        folder=CHECKOUT,
        ready=ready,
        ready_within_seconds=120.0,
        stop_within_seconds=60.0,
    )


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on, below those that the kernel hands out for a moment."""
    first = FIRST_PORT + os.getpid() % 1000 * 10
    free = (port for port in range(first, LAST_PORT) if not is_taken(port))
    return list(itertools.islice(free, count))
