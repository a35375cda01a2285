"""`up`: the whole embedded stack in the foreground, from an empty folder or from where it was ended."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Sequence

from temporalio.client import Client

from db.bootstrap import ensure_database
from stack import programs
from stack.errors import StackError
from stack.leftovers import end_leftovers
from stack.logs import Foreground
from stack.ports import PortClaim, claim_ports
from stack.postgres import prepare_data
from stack.programs import DATABASE, DATABASE_ROLES, Plan
from stack.seeding import Credential, seed
from stack.state import RunningStack, Urls
from stack.supervisor import Supervisor
from stack.temporal import prepare_namespace
from stack.welcome import welcome
from workflows.search_attributes import KEYS

# The children of a stack that was killed end within moments of it.
WAIT_FOR_PORTS_SECONDS = 5.0


async def up(plan: Plan, foreground: Foreground) -> None:
    """Run the stack until it is told to end; StackError when it cannot start or one of its programs ends."""
    plan.state.make()
    with plan.state.locked():
        try:
            async with Supervisor(logs=plan.state.logs, foreground=foreground) as supervisor:
                await _until_told_to_end(_serve(plan, supervisor, foreground), supervisor)
            if supervisor.killed:
                raise StackError(
                    "killed before all had ended in order; the next start goes on from what is on disk"
                )
        finally:
            await end_leftovers(plan.state.postgres)
            plan.state.run_file.unlink(missing_ok=True)


async def _serve(plan: Plan, supervisor: Supervisor, foreground: Foreground) -> None:
    credentials = await start_all(plan, supervisor, foreground)
    plan.state.write_run_file(_running(plan, supervisor))
    await welcome(plan, credentials, foreground)
    await supervisor.watch()


async def start_all(plan: Plan, supervisor: Supervisor, foreground: Foreground) -> Sequence[Credential]:
    """Every program of the stack, one after the other; the users that were made for it."""
    if not plan.state.postgres.exists():
        foreground.say("making the PostgreSQL data folder")
    await prepare_data(plan.postgres, password=plan.secrets.read_or_make("postgres"))
    after_a_kill = plan.state.run_file.exists()
    await claim_ports(_claims(plan), wait_seconds=WAIT_FOR_PORTS_SECONDS if after_a_kill else 0.0)
    plan.write_database_urls()
    await supervisor.start(programs.postgres(plan))
    await ensure_database(
        plan.postgres.url(password=plan.secrets.read_or_make("postgres")),
        database=DATABASE,
        passwords={f"nexus_{role}": plan.secrets.read_or_make(f"nexus_{role}") for role in DATABASE_ROLES},
    )
    await supervisor.run(programs.migrations(plan))
    credentials = await seed(plan)
    if plan.encrypts:
        await supervisor.start(programs.codec_server(plan))
    await supervisor.start(programs.temporal(plan))
    await prepare_namespace(await Client.connect(plan.temporal_address), KEYS)
    await supervisor.start(programs.simulator(plan))
    await supervisor.start(programs.sealer(plan))
    await supervisor.start(programs.pipeline_worker(plan))
    await supervisor.start(programs.broker_worker(plan))
    await supervisor.start(programs.api(plan))
    return credentials


async def _until_told_to_end(work: Awaitable[None], supervisor: Supervisor) -> None:
    """Await the work; the first signal to end cancels it, each later one kills what has not ended yet."""
    task = asyncio.ensure_future(work)
    told_to_end = False

    def end() -> None:
        nonlocal told_to_end
        if told_to_end:
            supervisor.kill()
        told_to_end = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for end_signal in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(end_signal, end)
    try:
        await task
    except asyncio.CancelledError:
        if not told_to_end:
            raise


def _running(plan: Plan, supervisor: Supervisor) -> RunningStack:
    return RunningStack(
        pid=os.getpid(),
        urls=Urls(
            api=plan.api_url,
            temporal_address=plan.temporal_address,
            temporal_ui=plan.temporal_ui_url,
            database_owner_file=str(plan.secrets.path("database_url_owner")),
        ),
        ports={claim.wanted_by: claim.port for claim in _claims(plan)},
        pids=supervisor.pids,
        ticks=None if plan.replay is None else str(plan.replay.file),
    )


def _claims(plan: Plan) -> tuple[PortClaim, ...]:
    ports = plan.ports
    rows = (
        (ports.postgres, "PostgreSQL", "postgres-port"),
        (ports.temporal, "Temporal", "temporal-port"),
        (ports.temporal_ui, "the Temporal Web UI", "temporal-ui-port"),
        (ports.simulator, "the simulated terminal", "simulator-port"),
        (ports.api, "the API", "api-port"),
        *([(ports.codec, "the codec server", "codec-port")] if plan.encrypts else []),
    )
    return tuple(
        PortClaim(port=port, wanted_by=wanted_by, flag=f"--{flag}", variable=flag.upper().replace("-", "_"))
        for port, wanted_by, flag in rows
    )
