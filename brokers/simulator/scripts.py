"""Which faults befall a call: those that were scripted for it, else those that chance draws."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

from brokers.simulator.chaos import Chaos
from brokers.simulator.faults import (
    ORDER_SEND,
    Aftermath,
    Event,
    Fault,
    Outcome,
    PipeDead,
    PipeStuck,
    TransportFault,
    ViewFault,
)

ANY_SYMBOL = "*"
# Calls that attach a client: a pattern does not cover them, or nobody would get in any more.
ATTACHING = frozenset({"initialize", "login", "fence", "version"})
PLAYED_KEPT = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFaults:
    """The faults of one call, each kind in its place."""

    transport: TransportFault | None = None
    outcome: Outcome | None = None
    aftermath: tuple[Aftermath, ...] = ()
    events: tuple[Event, ...] = ()

    @classmethod
    def of(cls, op: str, faults: Iterable[Fault]) -> Self:
        """Raises ValueError for faults that cannot meet on one call of `op`."""
        given = list(faults)
        transports = [fault for fault in given if isinstance(fault, TransportFault)]
        outcomes = [fault for fault in given if isinstance(fault, Outcome)]
        aftermath = tuple(fault for fault in given if isinstance(fault, Aftermath))
        if len(transports) > 1 or len(outcomes) > 1:
            raise ValueError("a call has one answer: one transport fault and one outcome at most")
        shown_only = all(isinstance(fault, ViewFault) for fault in aftermath)
        if op != ORDER_SEND and (outcomes or not shown_only):
            raise ValueError(f"{op} sends no order, so an order's fate does not fit it")
        if transports and not executes(transports[0]) and (outcomes or aftermath):
            raise ValueError("what is not executed has no outcome and no aftermath")
        return cls(
            transport=transports[0] if transports else None,
            outcome=outcomes[0] if outcomes else None,
            aftermath=aftermath,
            events=tuple(fault for fault in given if isinstance(fault, Event)),
        )

    def all(self) -> tuple[Fault, ...]:
        named = (self.transport, self.outcome)
        return (*self.events, *(fault for fault in named if fault is not None), *self.aftermath)


NO_FAULTS = CallFaults()


def executes(fault: TransportFault) -> bool:
    """Whether the call is carried out under this fault."""
    return not isinstance(fault, PipeDead | PipeStuck) and getattr(fault, "executed", True)


@dataclass(frozen=True, slots=True)
class Script:
    """Faults for the next calls of `op` (a name, or a pattern such as `history_*_get`) on a symbol."""

    op: str
    symbol: str
    turns: deque[CallFaults]
    repeat: bool

    def fits(self, op: str) -> bool:
        return op == self.op or (op not in ATTACHING and fnmatchcase(op, self.op))

    def next(self) -> CallFaults:
        faults = self.turns.popleft()
        if self.repeat:
            self.turns.append(faults)
        return faults


class Faults:
    """Scripted faults in their order, each used once unless repeated; chance where no script speaks."""

    def __init__(self) -> None:
        self._scripts: list[Script] = []
        self.chaos: Chaos | None = None
        # The newest calls that were befallen: call, symbol, faults.
        self.played: deque[tuple[str, str, CallFaults]] = deque(maxlen=PLAYED_KEPT)

    def script(self, op: str, symbol: str, turns: Iterable[Sequence[Fault]], *, repeat: bool = False) -> None:
        """Queue the faults of one call after the other; raises ValueError for what does not fit together."""
        queued = deque(CallFaults.of(op, faults) for faults in turns)
        self._scripts.append(Script(op, symbol, queued, repeat))

    def take(self, op: str, symbol: str) -> CallFaults:
        """The faults of this call: the symbol's own script before one for any symbol."""
        drawn = self.chaos.draw(op) if self.chaos is not None and op not in ATTACHING else []
        faults = self._scripted(op, symbol)
        if faults is None:
            faults = CallFaults.of(op, _compatible(drawn)) if drawn else NO_FAULTS
        if faults is not NO_FAULTS:
            self.played.append((op, symbol, faults))
        return faults

    def clear(self) -> None:
        self._scripts.clear()
        self.chaos = None

    def _scripted(self, op: str, symbol: str) -> CallFaults | None:
        for wanted in (symbol, ANY_SYMBOL):
            for script in self._scripts:
                if script.symbol == wanted and script.turns and script.fits(op):
                    faults = script.next()
                    self._scripts = [left for left in self._scripts if left.turns]
                    return faults
        return None


def _compatible(drawn: Sequence[Fault]) -> list[Fault]:
    """Of what chance drew together, the first of each kind, and no order's fate where none is executed."""
    transport = next((fault for fault in drawn if isinstance(fault, TransportFault)), None)
    kept: list[Fault] = [fault for fault in drawn if isinstance(fault, Event)]
    if transport is not None:
        kept.append(transport)
    if transport is None or executes(transport):
        kept += [fault for fault in drawn if isinstance(fault, Outcome)][:1]
        kept += [fault for fault in drawn if isinstance(fault, Aftermath)]
    return kept
