"""`nexus preflight`: whether an account can be traded through its terminal, before a worker serves it."""

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Annotated, Any

import typer

from brokers.mt5.adapter import ATTACH_DEADLINE
from brokers.mt5.clock import ServerClock
from brokers.mt5.preflight.report import Card, Check, Verdict
from brokers.mt5.preflight.run import Report, Wish, fly
from brokers.mt5.preflight.terminal import Pace, TerminalServed, Way
from settings import BrokerSettings, TerminalKind
from stack.broker_settings import broker_settings
from stack.errors import StackError
from stack.options import StateDirOption, state_folder

NAME_WIDTH = 22
MEND_INDENT = " " * 12

app = typer.Typer()


@app.command()
def preflight(
    symbol: Annotated[
        str, typer.Option(help="The symbol to look at and, on a demo account, to trade.")
    ] = "EURUSD",
    *,
    read_only: Annotated[bool, typer.Option("--read-only", help="Send nothing to a demo account either.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")] = False,
    tick_seconds: Annotated[float, typer.Option(min=0.1, help="How long a tick may take to come.")] = 10.0,
    state_dir: StateDirOption = None,
) -> None:
    """Check the account of the environment; trades the least volume on a demo account, nothing on any other."""
    settings = broker_settings(state_folder(state_dir))
    wish = Wish(symbol=symbol, read_only=read_only, tick_patience=timedelta(seconds=tick_seconds))
    pace = Pace(now=lambda: datetime.now(UTC), monotonic=monotonic)
    try:
        report = asyncio.run(fly(_way(settings), wish, pace=pace, tell=_silent if as_json else _tell))
    except TerminalServed as served:
        raise StackError(
            f"account {settings.account_slug} is being served, and a terminal takes one process: {served}; "
            "end its worker, or the other pre-flight, first"
        ) from served
    if as_json:
        typer.echo(json.dumps(_document(report), indent=2))
    else:
        typer.echo(_card(report.card))
    if report.card.failed:
        raise typer.Exit(1)


def _way(settings: BrokerSettings) -> Way:
    patient = settings.terminal is not TerminalKind.SIMULATED
    deadline = settings.call_deadline
    return Way(
        kind=settings.terminal.value,
        path=settings.terminal_path,
        login=settings.login,
        server=settings.server,
        password=settings.password,
        lock_file=settings.terminal_lock,
        clock=ServerClock(settings.server_zone),
        call_deadline=deadline,
        connect_deadline=max(deadline, ATTACH_DEADLINE) if patient else deadline,
    )


def _silent(_: Check) -> None:
    pass


def _tell(check: Check) -> None:
    finding = check.finding
    number = f"{check.name.number:>2}"
    typer.echo(f"{number}. {check.name:<{NAME_WIDTH}} {finding.verdict:<8} {finding.seen}")
    if finding.verdict is Verdict.FAILED:
        typer.echo(f"{MEND_INDENT}mend: {finding.mend}")


def _card(card: Card) -> str:
    lines = [""]
    for name, value in card.facts.items():
        if isinstance(value, dict):
            lines += [f"{f'{name} {term}':<{NAME_WIDTH}} {told}" for term, told in value.items()]
        else:
            lines.append(f"{name.replace('_', ' '):<{NAME_WIDTH}} {'not seen' if value is None else value}")
    lines += [f"{'LEFT AT THE BROKER':<{NAME_WIDTH}} {thing}" for thing in card.left]
    return "\n".join([*lines, f"{'verdict':<{NAME_WIDTH}} {card.verdict}"])


def _document(report: Report) -> dict[str, Any]:
    checks = [
        {"number": check.name.number, "name": check.name.value, **asdict(check.finding)} for check in report.checks
    ]
    card = report.card
    return {"checks": checks, "card": {**card.facts, "left": list(card.left), "verdict": card.verdict}}
