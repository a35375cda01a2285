"""What the pre-flight looks at, in its order, and what it has to tell of each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Name(StrEnum):
    """Every check; its number is its place in this list."""

    TERMINAL = "terminal"
    ACCOUNT = "account"
    LINK = "link to the broker"
    ALGO_TRADING = "algo trading"
    SYMBOL = "symbol"
    TICK = "fresh tick"
    CLOCK = "server clock"
    FILLING = "filling modes"
    ORDER_CHECK = "order_check"
    LISTS = "four lists"
    MARKET_ORDER = "market order"
    DEAL = "deal after the answer"
    STOP_LOSS = "stop loss"
    MAGIC = "magic kept"
    COMMENT = "comment"
    REQUEST_ID = "request_id"
    CLOSE = "close"
    TICKET_QUERIES = "deals by ticket"
    PENDING_ORDER = "pending order"
    CANCEL = "cancel"
    CLEAN_UP = "nothing left"

    @property
    def number(self) -> int:
        return list(Name).index(self) + 1


class Verdict(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was seen, and, where it is not as it must be, what mends it."""

    verdict: Verdict
    seen: str
    mend: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    name: Name
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class Card:
    """The account as it was found: named facts in the order of their telling, None for what was not seen."""

    facts: dict[str, Any]
    failed: tuple[Name, ...]
    left: tuple[str, ...]
    sent: bool

    @property
    def verdict(self) -> str:
        if self.failed:
            return f"failed: {', '.join(self.failed)}"
        return "passed" if self.sent else "passed, nothing was sent"


def ok(seen: str) -> Finding:
    return Finding(verdict=Verdict.OK, seen=seen)


def failed(seen: str, *, mend: str) -> Finding:
    return Finding(verdict=Verdict.FAILED, seen=seen, mend=mend)


def skipped(why: str) -> Finding:
    return Finding(verdict=Verdict.SKIPPED, seen=why)


@dataclass(kw_only=True)
class Journal:
    """The checks as they are made; `tell` hears of each at once."""

    tell: Callable[[Check], None]
    checks: dict[Name, Check] = field(default_factory=dict)

    def note(self, name: Name, finding: Finding) -> Finding:
        check = Check(name=name, finding=finding)
        self.checks[name] = check
        self.tell(check)
        return finding

    def skip_rest(self, names: tuple[Name, ...], why: str) -> None:
        for name in names:
            if name not in self.checks:
                self.note(name, skipped(why))

    @property
    def failed(self) -> tuple[Name, ...]:
        made = self.checks.values()
        return tuple(check.name for check in made if check.finding.verdict is Verdict.FAILED)


READING = tuple(name for name in Name if name.number < Name.MARKET_ORDER.number)
TRIAL = tuple(name for name in Name if name.number >= Name.MARKET_ORDER.number)
