"""Runs of the reconciliation and discrepancies for the terminal."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from domain.discrepancies import WAITING, Decision, DiscrepancyState, Effect, effects
from domain.reconciliation import Difference, DifferenceKind, Verdict

TOLD = {
    Verdict.CLEAN: "books and broker agree",
    Verdict.EXPLAINED: "books and broker agree, and records explain what happened since the run before",
    Verdict.WAITING: "what differs is in motion; the next run looks again",
    Verdict.CORRECTED: "a small difference was entered as unexplained",
    Verdict.REVIEW: "what differs waits for a person; trading goes on",
    Verdict.STOPPED: "what differs waits for a person, and trading is stopped",
    Verdict.INCONCLUSIVE: "nothing was compared, and nothing follows",
}


def run_line(run: dict[str, Any]) -> str:
    took = (run["ended_at"] - run["began_at"]).total_seconds()
    reason = "" if run["reason"] is None else f": {run['reason']}"
    return f"{run['account']}: {run['verdict']}, {TOLD[Verdict(run['verdict'])]}{reason} ({took:.1f} s)"


def explained_table(run: dict[str, Any]) -> Table:
    """What records prove since the run before."""
    table = Table("explained by", "records", "money", "tickets")
    for each in run["explained"]:
        tickets = ", ".join(str(ticket) for ticket in each["tickets"])
        more = ", …" if each["count"] > len(each["tickets"]) else ""
        money = f"{each['amount']} {run['currency']}"
        table.add_row(*(Text(part) for part in (each["cause"], str(each["count"]), money, tickets + more)))
    return table


def findings_table(findings: Sequence[dict[str, Any]]) -> Table:
    """What differs by a run."""
    table = _differing()
    for row in findings:
        table.add_row(*(Text(part) for part in _cells(row)))
    return table


def discrepancies_table(found: Sequence[dict[str, Any]]) -> Table:
    table = _differing("found", "account")
    for row in found:
        told = (f"{row['found_at'].astimezone():%m-%d %H:%M:%S}", row["account"], *_cells(row))
        table.add_row(*(Text(part) for part in told))
    return table


def discrepancy_card(row: dict[str, Any], *, who: str) -> RenderableType:
    """Everything that is known of one, and while it waits, what each decision would do."""
    ours, theirs = _sides(row)
    facts = Table(show_header=False, box=None, pad_edge=False)
    for name, told in (
        ("account", row["account"]),
        ("differs", _what(row)),
        ("ours", ours),
        ("the broker's", theirs),
        ("in USD", f"{_dollars(row)}, so {row['tier']}"),
        ("evidence", "; ".join(f"{name} {value}" for name, value in row["evidence"].items() if value)),
        ("found", f"{_instant(row['found_at'])} by run {row['first_run_id']}"),
        ("seen", f"{_instant(row['seen_at'])} by run {row['last_run_id']}, in all by {row['run_count']}"),
        ("state", ending_of(row, who=who)),
    ):
        facts.add_row(Text(name), Text(told))
    if row["state"] not in WAITING:
        return facts
    table = Table("decision", "what it does", "cash", "lots", "realises")
    for effect in _effects(row):
        moves = (effect.balance, effect.lots, effect.realised)
        told = (
            effect.decision,
            effect.objection or effect.told,
            *("-" if x is None else _plain(x) for x in moves),
        )
        table.add_row(*(Text(part) for part in told))
    return Group(facts, table)


def effect_of(row: dict[str, Any], decision: Decision) -> str:
    """What the decision does to a discrepancy that waits, in a line."""
    (effect,) = [each for each in _effects(row) if each.decision is decision]
    moves = (("cash", effect.balance), ("lots", effect.lots), ("realises", effect.realised))
    told = ", ".join(f"{name} {_plain(amount)}" for name, amount in moves if amount is not None)
    return effect.told if not told else f"{effect.told} ({told})"


def ending_of(row: dict[str, Any], *, who: str) -> str:
    """Where it stands, and who or what brought it there."""
    told = f"is {row['state']}"
    if row["decision"] is not None:
        told += f", {who} decided to {row['decision']} it: {row['reason']!r}"
    if row["state"] == DiscrepancyState.CORRECTED:
        told += f", by itself, as event {row['event_id']}"
    if row["cause"] is not None:
        ticket = "" if row["cause_ticket"] is None else f", ticket {row['cause_ticket']}"
        told += f", by {row['cause']}{ticket}"
    if row["ended_at"] is not None:
        told += f", {_instant(row['ended_at'])}"
    return told


def _effects(row: dict[str, Any]) -> tuple[Effect, ...]:
    difference = Difference(
        kind=DifferenceKind(row["kind"]),
        subject=row["subject"],
        symbol=row["symbol"],
        number=row["number"],
        ours=row["ours"],
        theirs=row["theirs"],
        impact=row["impact_usd"],
    )
    return effects(difference, floating=row["floating"])


def _differing(*before: str) -> Table:
    table = Table(*before)
    table.add_column("differs", overflow="fold")
    for column in ("ours", "broker's", "USD", "state"):
        table.add_column(column, overflow="fold")
    # What is pasted into the next command stays whole.
    table.add_column("id", no_wrap=True)
    return table


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (_what(row), *_sides(row), _dollars(row), _state(row), str(row["id"]))


def _what(row: dict[str, Any]) -> str:
    kind: str = row["kind"]
    return kind if row["subject"] == kind else f"{kind} {row['subject']}"


def _sides(row: dict[str, Any]) -> tuple[str, str]:
    ours, theirs = ("nothing" if side is None else _plain(side) for side in (row["ours"], row["theirs"]))
    return ours, theirs


def _dollars(row: dict[str, Any]) -> str:
    return "no rate" if row["impact_usd"] is None else f"{row['impact_usd']:.2f}"


def _state(row: dict[str, Any]) -> str:
    waits = row["state"] in WAITING
    return f"{row['state']} ({row['tier']})" if waits else row["state"]


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"


def _instant(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
