"""`nexus up`, `down` and `status`: the embedded stack as a whole."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stack import launcher
from stack.environment import StackSettings
from stack.errors import StackError
from stack.logs import Foreground
from stack.options import StateDirOption, state_folder
from stack.programs import Plan, Ports, Replay
from stack.rest import client, find_caller
from stack.show import screen, status_tables
from stack.state import RunningStack
from stack.welcome import curl_line

END_WITHIN_SECONDS = 120.0
NOT_RUNNING = 3

app = typer.Typer()


@app.command()
def up(  # noqa: PLR0913 - each argument is an option of the command
    *,
    state_dir: StateDirOption = None,
    postgres_port: Annotated[
        int | None, typer.Option(min=1024, max=65535, show_default="5433", help="Port of PostgreSQL.")
    ] = None,
    temporal_port: Annotated[
        int | None, typer.Option(min=1024, max=65535, show_default="7233", help="Port of Temporal.")
    ] = None,
    temporal_ui_port: Annotated[
        int | None, typer.Option(min=1024, max=65535, show_default="8233", help="Port of the Temporal Web UI.")
    ] = None,
    simulator_port: Annotated[
        int | None, typer.Option(min=1024, max=65535, show_default="18813", help="Port of the simulated terminal.")
    ] = None,
    api_port: Annotated[
        int | None, typer.Option(min=1024, max=65535, show_default="8002", help="Port of the API.")
    ] = None,
    codec_port: Annotated[
        int | None, typer.Option(min=1024, max=65535, show_default="8235", help="Port of the codec server.")
    ] = None,
    ticks: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Recorded quotes to replay.")
    ] = None,
    symbol: Annotated[str, typer.Option(help="The symbol that the recorded quotes are of.")] = "EURUSD",
) -> None:
    """Run the whole stack in the foreground until Ctrl-C; a later start continues with the same data."""
    settings = StackSettings.from_environ(os.environ)
    plan = Plan(
        state=state_folder(state_dir),
        ports=Ports(
            postgres=postgres_port or settings.postgres_port,
            temporal=temporal_port or settings.temporal_port,
            temporal_ui=temporal_ui_port or settings.temporal_ui_port,
            simulator=simulator_port or settings.simulator_port,
            api=api_port or settings.api_port,
            codec=codec_port or settings.codec_port,
        ),
        replay=None if ticks is None else Replay(file=ticks.absolute(), symbol=symbol),
        daily_loss_limit=settings.daily_loss_limit,
        position_size_max=settings.position_size_max,
        handed_on=settings.handed_on,
    )
    asyncio.run(launcher.up(plan, Foreground()))


@app.command()
def down(state_dir: StateDirOption = None) -> None:
    """End the running stack and wait until it has ended."""
    state = state_folder(state_dir)
    pid = state.owner_pid()
    if pid is None:
        Console().print(f"no stack runs on {state.root}", soft_wrap=True)
        return
    # Whoever holds the lock is the launcher, so the number cannot belong to anybody else.
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_WITHIN_SECONDS
    while state.owner_pid() == pid:
        if time.monotonic() > deadline:
            raise StackError(f"the stack (process {pid}) has not ended within {END_WITHIN_SECONDS:.0f} s")
        time.sleep(0.05)
    Console().print(f"the stack on {state.root} has ended", soft_wrap=True)


@app.command()
def status(state_dir: StateDirOption = None) -> None:
    """Show the processes, ports and health of the running stack, and a line that sends a first trade.

    Exits with 0 when all is well, 1 when the API or what it stands on does not answer, 3 when no stack runs.
    """
    state, console = state_folder(state_dir), screen()
    running = state.running()
    if running is None:
        starting = state.owner_pid()
        told = (
            f"no stack runs on {state.root}" if starting is None else f"the stack (process {starting}) is starting"
        )
        console.print(told, soft_wrap=True)
        raise typer.Exit(NOT_RUNNING)
    console.print(f"Nexus answers at {running.urls.api}", soft_wrap=True)
    console.print(Columns([_processes(running), _ports(running)]))
    caller = find_caller(state, url=None, token=None)
    with client(caller.url, caller.token) as api:
        api.get("/api/system/health")
        console.print(status_tables(api.get("/api/system/status").json()))
    console.print(Text(curl_line(caller.url, caller.token)), soft_wrap=True)


def _processes(running: RunningStack) -> Table:
    table = Table()
    table.add_column("process")
    table.add_column("pid", justify="right")
    for name, pid in {"launcher": running.pid, **running.pids}.items():
        table.add_row(name, str(pid))
    return table


def _ports(running: RunningStack) -> Table:
    table = Table()
    table.add_column("server")
    table.add_column("port", justify="right")
    for what, port in running.ports.items():
        table.add_row(what, str(port))
    return table
