"""`nexus sim`: what goes wrong at the simulated terminal, scripted per call, by chance, or at once."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from brokers.simulator.client import DEFAULT_HOST, TerminalError, address_of
from brokers.simulator.control import Control, ControlRefused
from brokers.simulator.fault_wire import KINDS, from_words
from brokers.simulator.faults import ORDER_SEND, Aftermath, Event, Fault, Outcome, TransportFault
from stack.environment import StackSettings
from stack.errors import StackError
from stack.options import StateDirOption, state_folder
from stack.state import StateFolder

ANY = "*"
KIND_NAMES = ((TransportFault, "answer"), (Outcome, "order"), (Aftermath, "order, later"), (Event, "event"))

Read = TypeVar("Read")

TerminalOption = Annotated[
    str | None,
    typer.Option("--terminal", help="HOST:PORT of the simulated terminal.", show_default="the running stack's"),
]
SymbolOption = Annotated[str, typer.Option(help="Only calls about this symbol; * for any.")]

app = typer.Typer(help="Make the simulated terminal misbehave, or take it in hand.", no_args_is_help=True)


@app.command("faults")
def list_faults() -> None:
    """List every fault with its fields."""
    table = Table("fault", "fields", "befalls", "what happens")
    for name, kind in KINDS.items():
        promise = (kind.__doc__ or "").partition("\n")[0]
        table.add_row(name, " ".join(_field(field) for field in fields(kind)), _befalls(kind), promise)
    Console().print(table)


@app.command("fault")
def script_fault(
    faults: Annotated[list[str], typer.Argument(help="As placed,after_ms=500; several befall the same call.")],
    *,
    symbol: SymbolOption = ANY,
    op: Annotated[str, typer.Option(help="The call, or a pattern such as history_*_get.")] = ORDER_SEND,
    times: Annotated[int, typer.Option(min=1, help="How many calls in a row.")] = 1,
    repeat: Annotated[bool, typer.Option("--repeat", help="Every such call, until `nexus sim clear`.")] = False,
    terminal: TerminalOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Have faults befall the next calls."""
    turn = [_read(from_words, words) for words in faults]
    with _control(terminal, state_dir) as control:
        control.script(symbol, [turn] * (1 if repeat else times), op=op, repeat=repeat)


@app.command()
def now(
    event: Annotated[str, typer.Argument(help="As manual_trade,lots=0.10 or clock_stepped,hours=1.")],
    symbol: Annotated[str, typer.Option(help="The symbol, for an event that needs one.")] = "",
    terminal: TerminalOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Have an event happen at once."""
    happening = _read(from_words, event)
    if not isinstance(happening, Event):
        raise StackError(f"{event} befalls a call; script it with `nexus sim fault`")
    with _control(terminal, state_dir) as control:
        control.happen(happening, symbol=symbol)


@app.command()
def chaos(
    rate: Annotated[list[str], typer.Option(help="As answer_lost=0.05, or query_failure@positions_get=0.1.")],
    seed: Annotated[int, typer.Option(help="The same seed and calls meet the same faults.")] = 1,
    terminal: TerminalOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Have faults befall calls by chance, until `nexus sim clear`."""
    rates = dict(_read(_rate, words) for words in rate)
    with _control(terminal, state_dir) as control:
        control.chaos(seed, rates)


@app.command()
def clear(terminal: TerminalOption = None, state_dir: StateDirOption = None) -> None:
    """End scripted faults and chance; what has happened stays."""
    with _control(terminal, state_dir) as control:
        control.clear_faults()


@app.command()
def played(
    last: Annotated[int, typer.Option(min=1, help="How many, the newest last.")] = 20,
    terminal: TerminalOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Show the calls that faults have befallen."""
    with _control(terminal, state_dir) as control:
        calls = control.played()[-last:]
    for call in calls:
        told = ", ".join(repr(fault) for fault in call.faults)
        Console().print(f"{call.op} {call.symbol}: {told}", highlight=False, soft_wrap=True)


@app.command()
def tick(
    symbol: Annotated[str, typer.Argument(help="As EURUSD.")],
    bid: Annotated[str, typer.Argument(help="The price to sell at.")],
    ask: Annotated[str, typer.Argument(help="The price to buy at.")],
    terminal: TerminalOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Publish a quote and all that it triggers."""
    with _control(terminal, state_dir) as control:
        control.tick(symbol, bid, ask)


@app.command()
def hold(
    symbol: Annotated[str, typer.Argument(help="As EURUSD.")] = ANY,
    terminal: TerminalOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Stop a symbol's own ticks, or all."""
    with _control(terminal, state_dir) as control:
        control.hold_market(symbol)


@app.command()
def release(
    symbol: Annotated[str, typer.Argument(help="As EURUSD.")] = ANY,
    terminal: TerminalOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Let a symbol's own ticks flow again, or all."""
    with _control(terminal, state_dir) as control:
        control.release_market(symbol)


@contextmanager
def _control(terminal: str | None, state_dir: Path | None) -> Iterator[Control]:
    place = terminal or f"{DEFAULT_HOST}:{_port(state_folder(state_dir))}"
    try:
        address = address_of(place)
        with Control(address.host, address.port) as control:
            yield control
    except TerminalError as error:
        raise StackError(f"{place} is no HOST:PORT") from error
    except OSError as error:
        raise StackError(f"no simulated terminal on {place}: {error.strerror or error}") from error
    except ControlRefused as refusal:
        raise StackError(str(refusal)) from refusal


def _port(state: StateFolder) -> int:
    """That of the running stack, else the one that a stack would take."""
    running = state.running()
    if running is not None:
        return running.ports["the simulated terminal"]  # as the launcher claims it
    return StackSettings.from_environ(os.environ).simulator_port


def _read(read: Callable[[str], Read], words: str) -> Read:
    try:
        return read(words)
    except ValueError as error:
        raise StackError(str(error)) from error


def _rate(words: str) -> tuple[str, float]:
    name, _, share = words.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        raise ValueError(f"{words!r} is not of the form FAULT=RATE") from error


def _befalls(kind: type[Fault]) -> str:
    return next(told for kinds, told in KIND_NAMES if issubclass(kind, kinds))


def _field(field: Field[object]) -> str:
    return field.name if field.default in (MISSING, "") else f"{field.name}={field.default}"
