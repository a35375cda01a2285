"""`nexus reconcile` and `nexus discrepancies`: a run now, what it could not explain, and a person's word on it."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID, uuid4

import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.service import RPCError

from db.reconciliation_listings import DiscrepancyFilter, RunFilter, list_discrepancies, list_runs
from db.run_findings import list_findings
from db.users import get_user
from domain.discrepancies import WAITING, Decision
from domain.reconciliation import RunCause, Tier, Verdict
from settings import TemporalSettings
from stack.books import actor, books, one_account
from stack.discrepancy_tables import (
    discrepancies_table,
    discrepancy_card,
    effect_of,
    ending_of,
    explained_table,
    findings_table,
    run_line,
)
from stack.errors import StackError
from stack.options import AccountOption, StateDirOption, reason_of, state_folder
from stack.show import screen
from stack.state import StateFolder
from stack.workflow_server import connect, link, temporal_of
from workflows.deciding import NO_ANSWER, put_decision, refusal_of
from workflows.reconciliation_messages import Decide, discrepancy_workflow_id, run_workflow_id
from workflows.reconciliation_schedule import start_run

LISTED_MAX = 200
DECIDED_WITHIN_SECONDS = 10.0
NEEDS_A_PERSON = frozenset({Verdict.REVIEW, Verdict.STOPPED, Verdict.INCONCLUSIVE})

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `nexus discrepancies list` shows it.")]

app = typer.Typer()
discrepancies = typer.Typer(
    help="List what no record explained, look at one, and decide it.", no_args_is_help=True
)


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """A run that has ended, what differs by it, and where the Web UI shows it."""

    run: dict[str, Any]
    findings: list[dict[str, Any]]
    shown_at: str


@app.command()
def reconcile(
    account: AccountOption = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for its end.")] = 30.0,
    state_dir: StateDirOption = None,
) -> None:
    """Compare books and broker now, and show what came of it; exits with 1 when that needs a person."""
    ended = asyncio.run(_reconcile(state_folder(state_dir), account, wait_seconds=wait))
    console = screen()
    console.print(Text(run_line(ended.run)), soft_wrap=True)
    if ended.run["explained"]:
        console.print(explained_table(ended.run))
    if ended.findings:
        console.print(findings_table(ended.findings))
    console.print(Text(ended.shown_at), soft_wrap=True)
    if ended.run["verdict"] in NEEDS_A_PERSON:
        raise typer.Exit(1)


@discrepancies.command("list")
def list_waiting(
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended, too; the newest 200.")] = False,
    account: AccountOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List what waits for a record or a person; exits with 1 when there is any."""
    found = asyncio.run(_list(state_folder(state_dir), account, waiting=None if every else True))
    if not found:
        screen().print(Text("Nothing ever differed." if every else "Nothing differs that waits for anybody."))
        return
    screen().print(discrepancies_table(found))
    if any(row["state"] in WAITING for row in found):
        raise typer.Exit(1)


@discrepancies.command()
def show(discrepancy: IdArgument, state_dir: StateDirOption = None) -> None:
    """Show what each side has, what each decision would do, and where its workflow is seen."""
    state, wanted = state_folder(state_dir), _id(discrepancy)
    row, who = asyncio.run(_read(state, wanted))
    console = screen()
    console.print(discrepancy_card(row, who=who))
    console.print(Text(link(temporal_of(state), discrepancy_workflow_id(wanted))), soft_wrap=True)


@discrepancies.command()
def decide(
    discrepancy: IdArgument,
    decision: Annotated[
        Decision,
        typer.Argument(
            help="accept: the broker is right. adopt: its position is of no user. close: close it there."
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; it stays with the discrepancy and in the audit record.")],
    state_dir: StateDirOption = None,
) -> None:
    """Decide what becomes of a discrepancy, in the name of this machine's user."""
    state, wanted = state_folder(state_dir), _id(discrepancy)
    said = Decide(decision=decision, decided_by=actor(), reason=reason_of(reason))
    before, after = asyncio.run(_decide(state, wanted, said))
    console = screen()
    if after["state"] == before["state"] and _says(before, said):
        console.print(Text(f"{before['subject']} is {before['state']} already; nothing was changed"))
        return
    told = f"{before['subject']} is {after['state']}: {effect_of(before, decision)}"
    console.print(Text(told), soft_wrap=True)
    if decision is Decision.CLOSE:
        console.print(Text("the close goes as an order of its own; follow it with `nexus trades`"), soft_wrap=True)
    if before["tier"] == Tier.STOP and after["state"] not in WAITING:
        again = f"nexus resume --scope account:{before['account']} --reason …"
        console.print(Text(f"trading stays stopped until `{again}`"), soft_wrap=True)


async def _reconcile(state: StateFolder, slug: str | None, *, wait_seconds: float) -> _Ended:
    server = temporal_of(state)
    async with books(state) as connection:
        account = await one_account(connection, slug)
    client = await connect(server)
    key = f"command-{uuid4().hex[:12]}"
    shown_at = link(server, run_workflow_id(account.slug, key))
    try:
        begun = await start_run(client, account.slug, cause=RunCause.REQUEST, key=key)
        async with asyncio.timeout(wait_seconds):
            concluded = await begun.result()
    except TimeoutError as error:
        raise StackError(f"the run of {account.slug} goes on after {wait_seconds:g} s; see {shown_at}") from error
    except (RPCError, WorkflowFailureError) as error:
        raise StackError(f"the run of {account.slug} came to no end: {error}; see {shown_at}") from error
    async with books(state) as connection:
        (run,) = await list_runs(connection, RunFilter(user_id=None, run_id=concluded.run_id), limit=1)
        findings = await list_findings(connection, account.id, run_id=concluded.run_id)
        return _Ended(run=run, findings=findings, shown_at=shown_at)


async def _list(state: StateFolder, slug: str | None, *, waiting: bool | None) -> list[dict[str, Any]]:
    async with books(state) as connection:
        account = None if slug is None else (await one_account(connection, slug)).slug
        wanted = DiscrepancyFilter(user_id=None, account=account, waiting=waiting)
        return await list_discrepancies(connection, wanted, limit=LISTED_MAX)


async def _read(state: StateFolder, wanted: UUID) -> tuple[dict[str, Any], str]:
    """The discrepancy, and who has decided it last."""
    async with books(state) as connection:
        row = await _row(connection, wanted)
        return row, await _who(connection, row)


async def _decide(state: StateFolder, wanted: UUID, said: Decide) -> tuple[dict[str, Any], dict[str, Any]]:
    """The discrepancy before and after the decision; StackError if it was decided otherwise."""
    server = temporal_of(state)
    before, _ = await _read(state, wanted)
    if before["state"] in WAITING and not _says(before, said):
        await _put(server, wanted, said)
    after, who = await _read(state, wanted)
    if not _says(after, said):
        raise StackError(f"discrepancy {wanted} {ending_of(after, who=who)}; nothing was changed")
    return before, after


async def _put(server: TemporalSettings, wanted: UUID, said: Decide) -> None:
    client = await connect(server)
    try:
        async with asyncio.timeout(DECIDED_WITHIN_SECONDS):
            taken = await put_decision(client, wanted, said, key=f"command-{uuid4().hex[:12]}")
            _ = await taken.result()
    except WorkflowUpdateFailedError as error:
        refusal = refusal_of(error)
        raise StackError(f"{refusal.message if refusal else error.cause}; nothing was changed") from error
    except NO_ANSWER as error:
        raise StackError(
            f"no pipeline worker carried the decision out within {DECIDED_WITHIN_SECONDS:g} s; "
            "look at `nexus status`, and say it again once one runs"
        ) from error


async def _row(connection: AsyncConnection, wanted: UUID) -> dict[str, Any]:
    found = await list_discrepancies(connection, DiscrepancyFilter(user_id=None, discrepancy_id=wanted), limit=1)
    if not found:
        raise StackError(f"there is no discrepancy {wanted}; `nexus discrepancies list --all` shows them")
    return found[0]


async def _who(connection: AsyncConnection, row: dict[str, Any]) -> str:
    """Who decided last, by the name that people know."""
    said_by: str = row["decided_by"] or ""
    try:
        user = await get_user(connection, UUID(said_by.removeprefix("user:")))
    except ValueError:
        # No user of ours: a command of some machine.
        return said_by
    return said_by if user is None else user.username


def _says(row: dict[str, Any], said: Decide) -> bool:
    return (row["decision"], row["decided_by"], row["reason"]) == (said.decision, said.decided_by, said.reason)


def _id(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError as error:
        raise StackError(f"{given!r} is no id of a discrepancy; `nexus discrepancies list` shows them") from error
