"""What has changed at the terminal and the broker, and what must not be sent because of it.

1. A condition proves that no order can or should go: a switch is off, the link is lost, another account is shown,
   the clock is not the one that we reckon by. It blocks everything while it lasts, and ends by itself with the
   first reading that does not show it. What would reduce is blocked as well: the terminal would refuse it, or it
   would go to another account.
2. A change of what an order means blocks orders that open in the symbol, until a named person has accepted the new
   contract or the old one is back: with another contract size, tick, point or currency the same volume and price
   are other money; with a volume step that the old one is no multiple of, positions may no longer be closed in
   parts; under a vanished symbol there is nothing to open. Reducing passes: a position must never be locked in.
3. Any other change is told and blocks nothing: leverage, volume bounds, stops and freeze level, trade mode,
   execution and filling. The gates and the terminal's own check go by the new value from the first reading on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from domain.contracts import written
from domain.instruments import Instrument
from domain.money import is_multiple


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Blocks(StrEnum):
    NOTHING = "nothing"
    OPENING = "opening"
    EVERYTHING = "everything"


class FindingKind(StrEnum):
    BROKER_DISCONNECTED = "broker_disconnected"
    ALGO_TRADING_OFF = "algo_trading_off"
    PYTHON_TRADING_OFF = "python_trading_off"
    ACCOUNT_READ_ONLY = "account_read_only"
    EXPERT_TRADING_OFF = "expert_trading_off"
    ACCOUNT_MISMATCH = "account_mismatch"
    CLOCK_MISMATCH = "clock_mismatch"
    SYMBOL_VANISHED = "symbol_vanished"
    CONTRACT_CHANGED = "contract_changed"
    TERMS_CHANGED = "terms_changed"
    LEVERAGE_CHANGED = "leverage_changed"


# What each condition is, and what mends it.
CONDITIONS: dict[FindingKind, str] = {
    FindingKind.BROKER_DISCONNECTED: (
        "the terminal has no link to the broker: it reconnects by itself; look at the network and at the broker"
    ),
    FindingKind.ALGO_TRADING_OFF: "algo trading is off in the terminal: press the Algo Trading button",
    FindingKind.PYTHON_TRADING_OFF: (
        "the terminal refuses orders from Python: clear 'Disable automated trading via the external Python API' "
        "in Tools, Options, Expert Advisors"
    ),
    FindingKind.ACCOUNT_READ_ONLY: (
        "the account may not trade: log in with the trading password instead of the investor's, or ask the broker "
        "whether the account is open"
    ),
    FindingKind.EXPERT_TRADING_OFF: (
        "the broker does not let programs trade on this account: ask the broker to allow it"
    ),
    FindingKind.ACCOUNT_MISMATCH: (
        "the terminal shows another account: log it in to the account that it is configured for"
    ),
    FindingKind.CLOCK_MISMATCH: (
        "the broker's clock is not in the configured zone: correct MT5_SERVER_ZONE, unless the broker corrects it"
    ),
}

# Every term that makes an order other money than it was. A coarser volume step is beside them.
_MEANING = (
    "contract_size",
    "tick_size",
    "point",
    "digits",
    "currency_base",
    "currency_profit",
    "currency_margin",
)
_STEP = "volume_step"
_TOLD = (
    _STEP,
    "volume_min",
    "volume_max",
    "stops_level_points",
    "freeze_level_points",
    "trade_mode",
    "execution",
    "fillings",
    "order_types",
)
LISTED = "listed"


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """The switches that all have to be on before an order can go."""

    connected: bool
    algo_trading: bool
    python_trading: bool
    account_trading: bool
    expert_trading: bool

    @property
    def trade_allowed(self) -> bool:
        return self.algo_trading and self.python_trading and self.account_trading and self.expert_trading


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it was. `subject` is a symbol, empty for the account itself; `term` what of it."""

    kind: FindingKind
    severity: Severity
    subject: str
    term: str
    was: str
    shown: str
    blocks: Blocks

    @property
    def message(self) -> str:
        match self.kind:
            case FindingKind.SYMBOL_VANISHED:
                told = f"the broker lists no {self.subject} any more"
                return f"{told}; new beside it is {self.shown}" if self.shown else told
            case FindingKind.ACCOUNT_MISMATCH | FindingKind.CLOCK_MISMATCH:
                return f"{CONDITIONS[self.kind]} ({self.shown})"
            case kind if kind in CONDITIONS:
                return CONDITIONS[kind]
            case _:
                what = " ".join(filter(None, (self.subject, self.term)))
                return f"{what} is {self.shown} instead of {self.was}"


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A change of a contract that nobody has accepted yet: what the term was when it was last accepted."""

    symbol: str
    term: str
    was: str
    shown: str


def permission_findings(permissions: Permissions) -> tuple[Finding, ...]:
    """The switches that are off, the most telling one first."""
    if not permissions.connected:
        # The account's own flags are down with the link and say nothing of their own.
        shown = {FindingKind.BROKER_DISCONNECTED: False}
    else:
        shown = {
            FindingKind.ACCOUNT_READ_ONLY: permissions.account_trading,
            FindingKind.EXPERT_TRADING_OFF: permissions.expert_trading,
        }
    shown |= {
        FindingKind.ALGO_TRADING_OFF: permissions.algo_trading,
        FindingKind.PYTHON_TRADING_OFF: permissions.python_trading,
    }
    return tuple(condition(kind) for kind in CONDITIONS if not shown.get(kind, True))


def condition(kind: FindingKind, shown: str = "off") -> Finding:
    assert kind in CONDITIONS, "a condition is one of the kinds that last and end"
    return Finding(
        kind=kind,
        severity=Severity.CRITICAL,
        subject="",
        term="",
        was="on",
        shown=shown,
        blocks=Blocks.EVERYTHING,
    )


def leverage_findings(*, known: int | None, present: int) -> tuple[Finding, ...]:
    if known is None or known == present:
        return ()
    return (
        Finding(
            kind=FindingKind.LEVERAGE_CHANGED,
            severity=Severity.WARNING,
            subject="",
            term="leverage",
            was=f"1:{known}",
            shown=f"1:{present}",
            blocks=Blocks.NOTHING,
        ),
    )


def instrument_findings(
    known: Mapping[str, Instrument], present: Mapping[str, Instrument], *, pending: Sequence[Pending]
) -> tuple[Finding, ...]:
    """How the symbols differ from what is known of them.

    A blocking difference is measured from what was last accepted, so it is found anew until somebody accepts it;
    one that only is told is measured from the last reading, so it is found once. A symbol that was not known
    before differs from nothing.
    """
    appeared = sorted(present.keys() - known.keys())
    accepted = {(change.symbol, change.term): change.was for change in pending}
    found: list[Finding] = []
    for symbol in sorted(known):
        if symbol in present:
            found += _terms(known[symbol], present[symbol], accepted)
        else:
            found.append(_vanished(symbol, appeared))
    return tuple(found)


def _vanished(symbol: str, appeared: Sequence[str]) -> Finding:
    """Brokers rename a symbol by adding or dropping a suffix or prefix, often with another contract under it."""
    namesakes = [name for name in appeared if _namesakes(symbol, name)]
    return Finding(
        kind=FindingKind.SYMBOL_VANISHED,
        severity=Severity.CRITICAL,
        subject=symbol,
        term=LISTED,
        was=symbol,
        shown=", ".join(namesakes),
        blocks=Blocks.OPENING,
    )


def _namesakes(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return long.startswith(short) or long.endswith(short)


def _terms(known: Instrument, present: Instrument, accepted: Mapping[tuple[str, str], str]) -> Iterator[Finding]:
    for term in (*_MEANING, *_TOLD):
        base = accepted.get((known.symbol, term))
        if base is None and getattr(known, term) == getattr(present, term):
            # A broker may list thousands of symbols, and nothing has changed of nearly all of them.
            continue
        before, now = written(getattr(known, term)), written(getattr(present, term))
        base = before if base is None else base
        if base != now and (term in _MEANING or (term == _STEP and _coarser(base, now))):
            yield _changed(FindingKind.CONTRACT_CHANGED, known.symbol, term, was=base, shown=now)
        elif before != now:
            yield _changed(FindingKind.TERMS_CHANGED, known.symbol, term, was=before, shown=now)


def _coarser(base: str, now: str) -> bool:
    """Whether volumes that fitted the step no longer do."""
    return not is_multiple(Decimal(base), Decimal(now))


def _changed(kind: FindingKind, symbol: str, term: str, *, was: str, shown: str) -> Finding:
    blocking = kind is FindingKind.CONTRACT_CHANGED
    return Finding(
        kind=kind,
        severity=Severity.CRITICAL if blocking else Severity.WARNING,
        subject=symbol,
        term=term,
        was=was,
        shown=shown,
        blocks=Blocks.OPENING if blocking else Blocks.NOTHING,
    )
