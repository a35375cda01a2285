"""`nexus stop`, `resume` and `stops`: the emergency stop from the machine, whatever else is down."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import uuid4

import typer
from rich.table import Table
from rich.text import Text
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import stops
from db.resumption import remaining_causes
from db.stops import StopProgress
from domain.controls import ControlScope, ControlState
from domain.errors import PipelineError
from domain.stops import Stop, StopCause
from stack.books import actor, books
from stack.broker_settings import broker_settings
from stack.errors import StackError
from stack.options import StateDirOption, state_folder
from stack.show import screen
from stack.state import StateFolder
from stack.stopping import Pressed, press, reach_of
from stack.terminal_stop import Wanted, stop_at_terminal

DATA_AGE_MAX = timedelta(seconds=30)
LISTED_MAX = 50
SCOPE_HELP = "all, account:SLUG, user:NAME or symbol:SYMBOL"

app = typer.Typer()


@app.command()
def stop(  # noqa: PLR0913 # one parameter per flag
    reason: Annotated[str, typer.Option(help="Why; it stays with the stop.")],
    scope: Annotated[str, typer.Option(help=f"What to stop: {SCOPE_HELP}.")] = "all",
    *,
    reduce_only: Annotated[bool, typer.Option("--reduce-only", help="Let out what reduces a position.")] = False,
    keep_orders: Annotated[bool, typer.Option("--keep-orders", help="Leave working orders alone.")] = False,
    flatten: Annotated[bool, typer.Option("--flatten", help="Close every position that it covers.")] = False,
    include_external: Annotated[
        bool, typer.Option("--include-external", help="Orders and positions that are not ours as well.")
    ] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to follow it.")] = 60.0,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="At the terminal itself, with books and Temporal down.")
    ] = False,
    state_dir: StateDirOption = None,
) -> None:
    """Stop trading now: latch in the books, cancel, and with --flatten close, until the broker shows flat."""
    state = state_folder(state_dir)
    if terminal:
        if scope != "all" or reduce_only:
            raise StackError("--terminal stops all that is ours there; leave out --scope and --reduce-only")
        wanted = Wanted(flatten=flatten, cancel=not keep_orders, everything=include_external)
        raise typer.Exit(1 if asyncio.run(stop_at_terminal(broker_settings(state), wanted, tell=_say)) else 0)
    kind, name = _place(scope)
    asked = Stop(
        stop_id=uuid4(),
        scope=kind,
        scope_id=asyncio.run(_user_id(state, name)) if kind is ControlScope.USER else name,
        mode=ControlState.REDUCE_ONLY if reduce_only else ControlState.HALTED,
        cancel_orders=not keep_orders,
        flatten=flatten,
        include_external=include_external,
        cause=StopCause.PERSON,
        reason=_reason(reason),
        requested_by=actor(),
        resume_role="admin",
        requested_at=datetime.now(UTC),
    )
    try:
        pressed = asyncio.run(press(asked, reach_of(state), wait_seconds=wait, tell=_say))
    except PipelineError as error:
        raise StackError(str(error)) from error
    raise typer.Exit(_told(asked, pressed))


@app.command()
def resume(
    reason: Annotated[str, typer.Option(help="Why trading may go on; it stays in the audit log.")],
    scope: Annotated[str, typer.Option(help=f"What to open again: {SCOPE_HELP}.")] = "all",
    *,
    abandon: Annotated[bool, typer.Option("--abandon", help="End a stop that still closes positions.")] = False,
    state_dir: StateDirOption = None,
) -> None:
    """Open trading again, once the cause of the stop is over."""
    state = state_folder(state_dir)
    kind, name = _place(scope)
    scope_id = asyncio.run(_user_id(state, name)) if kind is ControlScope.USER else name

    async def run() -> Sequence[StopProgress]:
        async with books(state) as connection:
            held = await stops.stopped(connection, kind, scope_id)
            await _check_over(connection, held, abandon=abandon)
            await stops.resume(connection, kind, scope_id, actor=actor(), reason=_reason(reason))
            return held

    try:
        ended = asyncio.run(run())
    except PipelineError as error:
        raise StackError(str(error)) from error
    _say(f"trading is open again for {scope}; {len(ended)} stops are ended")


@app.command("stops")
def list_stops(state_dir: StateDirOption = None) -> None:
    """List the stops, the newest first."""

    async def run() -> tuple[StopProgress, ...]:
        async with books(state_folder(state_dir)) as connection:
            return await stops.list_stops(connection, limit=LISTED_MAX)

    found = asyncio.run(run())
    if not found:
        _say("Trading was never stopped.")
        return
    table = Table("latched", "what", "mode", "cause", "state", "still open", "by", "reason")
    for each in found:
        asked = each.stop
        told = (
            f"{each.latched_at:%Y-%m-%d %H:%M:%S}",
            f"{asked.scope} {asked.scope_id}".strip(),
            asked.mode,
            asked.cause,
            _state(each),
            str(len(each.certificate.get("remaining", ()))) if each.ended_at is None else "-",
            asked.requested_by,
            asked.reason,
        )
        table.add_row(*(Text(part) for part in told))
    screen().print(table)


async def _check_over(connection: AsyncConnection, held: Sequence[StopProgress], *, abandon: bool) -> None:
    working = [each for each in held if each.ended_at is None]
    if working and not abandon:
        raise StackError(f"stop {working[0].stop.stop_id} still closes positions; wait for it, or add --abandon")
    causes = await remaining_causes(connection, held, now=datetime.now(UTC), data_age_max=DATA_AGE_MAX)
    if causes:
        raise StackError(f"what stopped trading is not over: {'; '.join(causes)}")


def _told(asked: Stop, pressed: Pressed) -> int:
    """Say what is left; the exit status, which is zero only for a stop that has done its work."""
    if not pressed.latched and not pressed.carried_on:
        _say("NOTHING WAS STOPPED: books and Temporal are away; end the workers, then `nexus stop --terminal`")
        return 1
    if not pressed.latched:
        _say("the workflow latches as soon as it reaches the books; look again with `nexus stops`")
        return 1
    progress = pressed.progress
    if progress is None or progress.ended_at is None:
        for line in () if progress is None else progress.certificate.get("remaining", ()):
            _say(f"still open: {line}")
        _say(f"stop {asked.stop_id} goes on; look again with `nexus stops`")
        return 1
    for line in progress.certificate.get("left", ()):
        _say(f"left alone: {line}")
    return 0


def _state(progress: StopProgress) -> str:
    if progress.resumed_at is not None:
        return "resumed"
    if progress.flat_at is not None:
        return "flat"
    if progress.ended_at is not None:
        return "in force"
    return "closing" if progress.in_force_at is not None else "latched"


def _place(scope: str) -> tuple[ControlScope, str]:
    kind, _, name = scope.partition(":")
    if kind not in set(ControlScope) or (kind == ControlScope.ALL) != (not name):
        raise StackError(f"{scope!r} is not something to stop; say {SCOPE_HELP}")
    return ControlScope(kind), name


async def _user_id(state: StateFolder, name: str) -> str:
    async with books(state) as connection:
        found = await connection.scalar(text("SELECT id FROM users WHERE username = :name"), {"name": name})
    if found is None:
        raise StackError(f"there is no user {name!r}, so nothing was stopped")
    return str(found)


def _reason(words: str) -> str:
    if not 3 <= len(words.strip()) <= 500:
        raise StackError("the reason is 3 to 500 letters; say why")
    return words.strip()


def _say(line: str) -> None:
    typer.echo(line)
