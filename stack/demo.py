"""`nexus demo`: one trade of every kind through the whole stack, its books, and the laws that they keep.

It works on the embedded stack alone, where the broker is simulated: what it sends is meant for no real account.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stack.demo_lives import Life, Lives
from stack.options import StateDirOption, state_folder
from stack.own_stack import running_stack
from stack.programs import Replay
from stack.rest import client, find_caller
from stack.show import life_cycle, positions_tables, screen
from stack.state import RunningStack, StateFolder
from stack.verification import verify_laws

app = typer.Typer()


@app.command()
def demo(
    state_dir: StateDirOption = None,
    ticks: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Recorded quotes to replay.")
    ] = None,
    symbol: Annotated[str, typer.Option(help="The symbol to trade, which the recorded quotes are of.")] = "EURUSD",
) -> None:
    """Send a trade of each kind, show its life, then positions, ledger and laws; starts a stack if none runs.

    Exits with 1 unless everything came out as it should.
    """
    state, console = state_folder(state_dir), screen()
    replay = None if ticks is None else Replay(file=ticks.absolute(), symbol=symbol)
    with running_stack(state, replay, console) as running:
        as_expected = _show(state, running, symbol, console)
    if not as_expected:
        raise typer.Exit(1)


def _show(state: StateFolder, running: RunningStack, symbol: str, console: Console) -> bool:
    """Whether every life went as expected and every law holds."""
    me = find_caller(state, url=None, token=None)
    lives = []
    with client(me.url, me.token) as api:
        desk = Lives(api, symbol=symbol, terminal_port=running.ports["the simulated terminal"])
        for life in _play(desk, api, console):
            _print_life(console, life)
            lives.append(life)
        console.print(_ledger(api.get("/api/trading/ledger").json()["sums"]))
        desk.await_balance(lives)
    console.print(_summary(lives))
    return _laws_hold(state) and all(life.as_expected for life in lives)


def _play(lives: Lives, api: httpx.Client, console: Console) -> Iterator[Life]:
    lives.await_quotes()
    bought = lives.filled()
    yield bought
    in_parts = lives.filled_in_parts()
    yield in_parts
    yield lives.cancelled()
    yield lives.denied()
    yield lives.rejected()
    yield lives.closed(bought, title="The first position is closed")
    console.print(positions_tables(api.get("/api/trading/positions").json()))
    # Nothing is left open, so that the limits have room for the demo however often it runs.
    yield lives.closed(in_parts, title="The position that was filled in parts is closed in parts")


def _print_life(console: Console, life: Life) -> None:
    console.rule(Text(life.title, style="bold"), align="left")
    if life.trade is not None:
        console.print(life_cycle(life.trade, life.events))
        console.print(Text(life.trade["links"]["temporal"]), soft_wrap=True)
    console.print(Text.assemble(_verdict(life), f" expected {life.expected}, got {life.got}"), soft_wrap=True)


def _verdict(life: Life) -> Text:
    return Text("as expected:", style="green") if life.as_expected else Text("NOT AS EXPECTED:", style="bold red")


def _ledger(sums: Sequence[dict[str, Any]]) -> Table:
    """What each account of the ledger gained by the trader's trades: together nothing, in each currency."""
    table = Table(title="Ledger of all trades so far", title_justify="left")
    for column in ("account", "code"):
        table.add_column(column)
    table.add_column("amount", justify="right")
    totals: dict[str, Decimal] = {}
    for line in sums:
        table.add_row(line["account"], line["code"], f"{line['amount']} {line['currency']}")
        totals[line["currency"]] = totals.get(line["currency"], Decimal(0)) + Decimal(line["amount"])
    for currency, total in totals.items():
        table.add_row("", "sum", f"{total} {currency}", style="bold")
    return table


def _summary(lives: Sequence[Life]) -> Table:
    table = Table("trade", "expected", "got", "", title="The demo", title_justify="left")
    for life in lives:
        mark = Text("yes", style="green") if life.as_expected else Text("NO", style="bold red")
        table.add_row(life.title, life.expected, life.got, mark)
    return table


def _laws_hold(state: StateFolder) -> bool:
    try:
        verify_laws(state_dir=state.root)
    except typer.Exit as broken:
        return broken.exit_code == 0
    return True
