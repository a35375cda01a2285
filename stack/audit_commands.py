"""`nexus audit`: check the sealed record, write it to a file, and have the last word on what is wrong with it."""

import asyncio
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text
from sqlalchemy import text

from audit.anchors import Anchors, anchors_of, read_anchors
from audit.checks import check_all, faults_of
from audit.export import Export, ExportBroken, write_export
from db import audit_faults
from db.audit_standing import AuditStanding, read_audit_standing
from db.sealed_rows import read_oddities, read_sealed
from domain.audit import Fault
from domain.audit_check import Anchor, ChainCheck
from settings import Environment
from stack.audit_keys import KeyOption, public_keys_of, signer_of
from stack.books import actor, books
from stack.errors import StackError
from stack.options import StateDirOption, reason_of, state_folder
from stack.show import screen
from stack.state import StateFolder

FAULTS_SHOWN_MAX = 20

AnchorsOption = Annotated[
    Path | None,
    typer.Option(help="File of the anchors.", show_default="AUDIT_ANCHOR_PATH, or that of the embedded stack"),
]
app = typer.Typer(help="Check the audit record, write it to a file, judge what is wrong.", no_args_is_help=True)


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """What a pass found, the row that it came to, and the newest anchor that it was held against."""

    faults: list[Fault]
    last_seq: int
    anchor: Anchor | None
    told: str
    late: bool = False


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An exported file; without one, the database.")] = None,
    anchors: AnchorsOption = None,
    public_key: KeyOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Check each row against its seal and each seal against the anchors; exits with 1 when anything is off."""
    state = state_folder(state_dir)
    trusted = public_key or public_keys_of(state)
    path = anchors or _anchor_path(state)
    if anchors is not None and not anchors.exists():
        raise StackError(f"there is no {anchors}")
    try:
        known = Anchors({}, []) if path is None else anchors_of(path, trusted=trusted)
        checked = asyncio.run(
            _check_file(file, known, trusted) if file is not None else _check_books(state, known)
        )
    except (ExportBroken, KeyError) as error:
        raise StackError(f"{file}: {error}") from error
    _show(checked)
    if checked.faults or checked.late:
        raise typer.Exit(1)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    since: Annotated[
        int, typer.Option(min=1, help="The first row that is wanted; its whole seal is written.")
    ] = 1,
    state_dir: StateDirOption = None,
) -> None:
    """Write the sealed record to a file that `nexus audit verify FILE` checks without the database."""
    if out.exists():
        raise StackError(f"{out} exists already; give another name")

    async def run() -> int:
        unfinished = out.with_name(f".{out.name}.part")
        async with books(state_folder(state_dir)) as connection:
            await connection.execute(_SNAPSHOT)
            with unfinished.open("w", encoding="utf-8", newline="\n") as file:
                rows = await write_export(connection, file.write, since_seq=since, now=datetime.now(UTC))
        unfinished.rename(out)
        return rows

    try:
        rows = asyncio.run(run())
    except OSError as error:
        raise StackError(f"{out}: {error.strerror}") from error
    screen().print(Text(f"{rows} rows in {out}; check it with `nexus audit verify {out}`"), soft_wrap=True)


@app.command("public-key")
def public_key(state_dir: StateDirOption = None) -> None:
    """Print what checks the signatures; keep it where the keepers of the database cannot change it."""
    signer = signer_of(state_folder(state_dir))
    if signer is None:
        raise StackError("AUDIT_SIGNING_KEY is not set, and no embedded stack has made one")
    typer.echo(signer.public_key)


@app.command()
def status(state_dir: StateDirOption = None) -> None:
    """Show how far the record is sealed and anchored, and what is wrong with it; exits with 1 when anything is."""

    async def run() -> tuple[AuditStanding, list[audit_faults.NotedFault]]:
        async with books(state_folder(state_dir)) as connection:
            return await read_audit_standing(connection), await audit_faults.list_standing(connection)

    standing, faults = asyncio.run(run())
    console = screen()
    waiting = standing.unsealed_for
    age = (
        "every row is sealed"
        if waiting is None
        else f"rows have waited {waiting.total_seconds():.1f} s for a seal"
    )
    console.print(Text(f"sealed up to row {standing.sealed_seq}; {age}"), soft_wrap=True)
    anchored = (
        "nothing is anchored yet"
        if standing.anchored_at is None
        else f"anchored up to row {standing.anchored_seq} at {standing.anchored_at:%Y-%m-%d %H:%M:%S} UTC "
        f"in {', '.join(standing.places)}"
    )
    console.print(Text(anchored), soft_wrap=True)
    for fault in faults:
        line = f"fault {fault.id}, found {fault.found_at:%Y-%m-%d %H:%M:%S} UTC: {fault.message}"
        console.print(Text(line, style="bold red"), soft_wrap=True)
    if faults or standing.late:
        raise typer.Exit(1)


@app.command()
def accept(
    fault: Annotated[int, typer.Argument(help="As `nexus audit status` shows it.")],
    reason: Annotated[str, typer.Option(help="What it came from; it stays in the audit record.")],
    state_dir: StateDirOption = None,
) -> None:
    """Note that somebody has looked into a fault, so that trading may be opened again."""

    async def run() -> audit_faults.NotedFault | None:
        async with books(state_folder(state_dir)) as connection:
            return await audit_faults.accept(connection, fault, actor=actor(), reason=reason_of(reason))

    accepted = asyncio.run(run())
    if accepted is None:
        raise StackError(f"no fault {fault} waits for anybody; `nexus audit status` shows those that do")
    told = f"fault {fault} is accepted: {accepted.message}; `nexus resume` opens trading again"
    screen().print(Text(told), soft_wrap=True)


_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


async def _check_books(state: StateFolder, anchors: Anchors) -> _Checked:
    async with books(state) as connection:
        await connection.execute(_SNAPSHOT)
        standing = await read_audit_standing(connection)
        check = ChainCheck(anchors=anchors.good)
        faults = [*await check_all(read_sealed(connection), check), *faults_of(anchors)]
        faults += await read_oddities(connection)
    waiting = standing.unsealed_for
    told = "every row is sealed" if waiting is None else f"the newest rows wait {waiting.total_seconds():.1f} s"
    return _Checked(faults=faults, last_seq=check.seq, anchor=_newest(anchors.good), told=told, late=standing.late)


async def _check_file(file: Path, anchors: Anchors, trusted: Collection[str] | None) -> _Checked:
    try:
        lines = file.open(encoding="utf-8", newline="\n")
    except OSError as error:
        raise StackError(f"{file}: {error.strerror}") from error
    with lines:
        exported = Export(lines)
        within = read_anchors(exported.anchor_lines, trusted=trusted)
        known = {**within.good, **anchors.good}
        check = exported.check(known)
        faults = [*await check_all(exported.batches(), check), *faults_of(within), *faults_of(anchors)]
    told = f"as exported at {exported.exported_at:%Y-%m-%d %H:%M:%S} UTC"
    if exported.after_seq:
        told += f", from row {exported.after_seq + 1} on"
    before = [anchor for anchor in known.values() if anchor.at <= exported.exported_at]
    newest = max(before, key=lambda anchor: anchor.seal_number, default=None)
    return _Checked(faults=faults, last_seq=check.seq, anchor=newest, told=told)


def _newest(anchors: Mapping[int, Anchor]) -> Anchor | None:
    return anchors[max(anchors)] if anchors else None


def _show(checked: _Checked) -> None:
    console, count = screen(), len(checked.faults)
    if not count:
        against = (
            Text("; no anchor was given, so a cut end would not be seen", style="yellow")
            if checked.anchor is None
            else f"; held against anchors up to row {checked.anchor.last_seq}"
        )
        good = Text("good", style="green")
        console.print(
            Text.assemble("the chain is ", good, f" up to row {checked.last_seq}, {checked.told}", against),
            soft_wrap=True,
        )
        return
    first, *more = checked.faults
    console.print(Text(f"first fault: {first.message}", style="bold red"), soft_wrap=True)
    for fault in more[: FAULTS_SHOWN_MAX - 1]:
        console.print(Text(f"also: {fault.message}"), soft_wrap=True)
    if count > FAULTS_SHOWN_MAX:
        console.print(Text(f"and {count - FAULTS_SHOWN_MAX} more"))


def _anchor_path(state: StateFolder) -> Path | None:
    given = Environment(os.environ).optional("AUDIT_ANCHOR_PATH")
    if given is not None:
        return Path(given)
    return state.anchors if state.anchors.exists() else None
