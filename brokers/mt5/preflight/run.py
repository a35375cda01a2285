"""One pre-flight from end to end."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from brokers.mt5.preflight import evidence, judgement
from brokers.mt5.preflight.readings import Reader, Readings
from brokers.mt5.preflight.report import TRIAL, Card, Check, Journal, Name
from brokers.mt5.preflight.sweep import Sweep
from brokers.mt5.preflight.terminal import Pace, ProbedTerminal, Way
from brokers.mt5.preflight.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Wish:
    """`read_only` sends nothing to a demo account either; to any other account nothing is ever sent."""

    symbol: str
    read_only: bool
    tick_patience: timedelta


@dataclass(frozen=True, kw_only=True)
class Report:
    checks: tuple[Check, ...]
    card: Card


async def fly(way: Way, wish: Wish, *, pace: Pace, tell: Callable[[Check], None]) -> Report:
    """Raises TerminalServed, before anything is touched, while another process holds the terminal."""
    terminal, journal = ProbedTerminal(way), Journal(tell=tell)
    reader = Reader(terminal, way, pace=pace, journal=journal, tick_patience=wish.tick_patience)
    left: tuple[str, ...] = ()
    try:
        await reader.read(wish.symbol)
        reason = why_no_trial(reader.seen, journal.failed, read_only=wish.read_only)
        if reason is None:
            left = await _try(terminal, way, pace=pace, journal=journal, readings=reader.seen)
        else:
            journal.skip_rest(TRIAL, reason)
    finally:
        await terminal.close()
    checks = tuple(journal.checks[name] for name in Name)
    facts = facts_of(reader.seen)
    return Report(checks=checks, card=Card(facts=facts, failed=journal.failed, left=left, sent=reason is None))


async def _try(
    terminal: ProbedTerminal, way: Way, *, pace: Pace, journal: Journal, readings: Readings
) -> tuple[str, ...]:
    trial = Trial(terminal, way, pace=pace, journal=journal, readings=readings)
    try:
        await trial.run()
    finally:
        left = await Sweep(terminal, way, trial, pace=pace).run()
        opened = trial.opened
        finding = evidence.nothing_left(left, unclear=opened.unclear, magics=opened.magics)
        journal.note(Name.CLEAN_UP, finding)
    return left


def why_no_trial(seen: Readings, failed: tuple[Name, ...], *, read_only: bool) -> str | None:
    """None where the trial may begin."""
    if seen.account is not None and (reason := judgement.nothing_is_sent(seen.account)) is not None:
        return reason
    if failed:
        return f"{failed[0]} failed"
    return "--read-only" if read_only else None


def facts_of(seen: Readings) -> dict[str, Any]:
    account, terminal, symbol = seen.account or {}, seen.terminal or {}, seen.symbol
    offset = seen.clock_offset
    return {
        "account": account.get("login"),
        "server": account.get("server"),
        "company": account.get("company"),
        "mode": judgement.mode_of(account) if account else None,
        "build": terminal.get("build"),
        "margin_mode": judgement.margin_mode_of(account) if account else None,
        "leverage": account.get("leverage"),
        "currency": account.get("currency"),
        "clock_offset": None if offset is None else judgement.spoken_offset(offset),
        "symbol": None if symbol is None else judgement.symbol_card(symbol),
    }
