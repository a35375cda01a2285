"""`nexus flight`: everything of one trade in one signed file."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.text import Text
from sqlalchemy import text
from temporalio.service import RPCError, RPCStatusCode

from audit.flight import FlightBroken, TradeUnknown, check_flight, make_flight
from audit.signing import Signer
from stack.audit_keys import KeyOption, public_keys_of, signer_of
from stack.books import books
from stack.errors import StackError
from stack.options import StateDirOption, state_folder
from stack.show import screen
from stack.state import StateFolder
from stack.workflow_server import connect, temporal_of

_WORKFLOW = text("SELECT workflow_id FROM trade_ledger WHERE id = :trade_id")
_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

app = typer.Typer()


@app.command()
def flight(
    trade: Annotated[str, typer.Argument(metavar="TRADE_ID", help="As `nexus trades` shows it.")],
    out: Annotated[
        Path | None, typer.Option(help="The file to write.", show_default="flight-TRADE_ID.json")
    ] = None,
    state_dir: StateDirOption = None,
) -> None:
    """Write a trade's flight record: request, gates, sends, deals, money, history, and the proof of each row."""
    try:
        trade_id = UUID(trade)
    except ValueError as error:
        raise StackError(f"{trade!r} is no id of a trade; `nexus trades` shows them") from error
    state, path = state_folder(state_dir), out or Path(f"flight-{trade_id}.json")
    if path.exists():
        raise StackError(f"{path} exists already; give another name with --out")
    signer = signer_of(state)
    if signer is None:
        raise StackError("nothing signs the record: set AUDIT_SIGNING_KEY (or AUDIT_SIGNING_KEY_FILE)")
    record = asyncio.run(_record(state, trade_id, signer))
    proven = check_flight(record, trusted=[signer.public_key])
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    waiting = proven.rows - proven.sealed
    console = screen()
    console.print(Text(f"{path}: {proven.rows} audit rows, {proven.sealed} of them sealed"), soft_wrap=True)
    if waiting or proven.anchored_at is None:
        told = (
            "what is not sealed and anchored yet is vouched for by the signature alone; make it again in a minute"
        )
        console.print(Text(told, style="yellow"), soft_wrap=True)
    if record["workflow_history"] is None:
        console.print(Text("Temporal keeps the history of its workflow no more", style="yellow"), soft_wrap=True)
    console.print(Text(f"check it with `nexus check-flight {path}`"), soft_wrap=True)


@app.command("check-flight")
def check(
    file: Annotated[Path, typer.Argument(help="What `nexus flight` wrote.")],
    public_key: KeyOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Prove a flight record by itself and the public key; exits with 1 when it is not what it was."""
    trusted = public_key or public_keys_of(state_folder(state_dir))
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        proven = check_flight(record, trusted=trusted)
    except OSError as error:
        raise StackError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise StackError(f"{file} is no JSON") from error
    except FlightBroken as error:
        screen().print(Text(f"{file} is not what it was: {error}", style="bold red"), soft_wrap=True)
        raise typer.Exit(1) from error
    anchored = "" if proven.anchored_at is None else f", anchored at {proven.anchored_at:%Y-%m-%d %H:%M:%S} UTC"
    key = f"signed by {record['key']}" + ("" if trusted else ", which nobody said to trust")
    told = f"trade {proven.trade_id}: {proven.sealed} of {proven.rows} audit rows are proven{anchored}; {key}"
    screen().print(Text(told), soft_wrap=True)


async def _record(state: StateFolder, trade_id: UUID, signer: Signer) -> dict[str, Any]:
    async with books(state) as connection:
        await connection.execute(_SNAPSHOT)
        workflow_id = await connection.scalar(_WORKFLOW, {"trade_id": trade_id})
        history = None if workflow_id is None else await _history(state, workflow_id)
        try:
            return await make_flight(connection, trade_id, history=history, signer=signer, now=datetime.now(UTC))
        except TradeUnknown as error:
            raise StackError(str(error)) from error


async def _history(state: StateFolder, workflow_id: str) -> Mapping[str, Any] | None:
    client = await connect(temporal_of(state))
    try:
        return (await client.get_workflow_handle(workflow_id).fetch_history()).to_json_dict()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise StackError(f"Temporal does not show {workflow_id}: {error.message}") from error
