"""`nexus drill`: how long it takes from the press of the stop to a flat broker."""

import asyncio
from collections.abc import Sequence
from statistics import median
from typing import Annotated

import typer
from rich.table import Table

from settings import TerminalKind
from stack.broker_settings import broker_settings
from stack.drill import Drill, drill, past_drills
from stack.errors import StackError
from stack.options import StateDirOption, state_folder
from stack.rest import find_caller
from stack.show import screen
from stack.stopping import reach_of

app = typer.Typer()


@app.command("drill")
def run_drill(
    positions: Annotated[int, typer.Option(min=1, max=100, help="How many are open at the press.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="How often the stop is pressed.")] = 3,
    *,
    history: Annotated[bool, typer.Option("--history", help="Show the drills so far, and press nothing.")] = False,
    state_dir: StateDirOption = None,
) -> None:
    """Press the stop on the simulated terminal, measure it, and open trading again."""
    state = state_folder(state_dir)
    if history:
        _show(past_drills(state))
        return
    if broker_settings(state).terminal is not TerminalKind.SIMULATED:
        raise StackError("a drill closes positions: it runs on the simulated terminal alone")
    caller = find_caller(state, url=None, token=None)
    found = [
        asyncio.run(drill(state, caller, reach_of(state), positions=positions, tell=typer.echo))
        for _ in range(rounds)
    ]
    _show(found)


def _show(found: Sequence[Drill]) -> None:
    if not found:
        typer.echo("No drill was kept yet.")
        return
    table = Table("at", "positions", "latch", "blocked", "in force", "flat", title="Milliseconds from the press")
    for each in found:
        table.add_row(each.at, str(each.positions), *(f"{value:.0f}" for value in _times(each)))
    columns = list(zip(*(_times(each) for each in found), strict=True))
    table.add_section()
    table.add_row("median", "", *(f"{median(column):.0f}" for column in columns))
    table.add_row("worst", "", *(f"{max(column):.0f}" for column in columns))
    screen().print(table)


def _times(each: Drill) -> tuple[float, float, float, float]:
    return each.latch_ms, each.blocked_ms, each.in_force_ms, each.flat_ms
