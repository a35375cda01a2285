"""Scripted misbehaviour: the one place that decides what goes wrong with a call.

Each call passes `Faults.take` once. A transport fault is played by the server on any call; a trade fault is the
broker's way with one order_send and is played by `trading`. A new fault of facts §10.3 is a dataclass here, an
entry in KINDS, and a case where it is played.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

ANY_SYMBOL = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """The broker refuses with this retcode; nothing is executed."""

    retcode: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """10008 now; filled in `parts` equal parts, the last after `after_ms`.

    A `fraction` below 1 fills only that much and cancels the rest; 0 cancels the whole order.
    """

    after_ms: int
    parts: int = 1
    fraction: Decimal = Decimal(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneLater:
    """10009 with deal 0; the deal follows after `after_ms`."""

    after_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Partial:
    """10010 with this fraction filled; the rest is cancelled, under RETURN it keeps working."""

    fraction: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """Done at once, answered after `ms`."""

    ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerLost:
    """The connection breaks instead of an answer: None and -10002, then -10004."""

    executed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang:
    """No answer on this connection ever again."""

    executed: bool


TradeFault = Reject | Placed | DoneLater | Partial
TransportFault = Delay | AnswerLost | Hang
Fault = TradeFault | TransportFault

KINDS: dict[str, type[Fault]] = {
    "reject": Reject,
    "placed": Placed,
    "done_later": DoneLater,
    "partial": Partial,
    "delay": Delay,
    "answer_lost": AnswerLost,
    "hang": Hang,
}
NAMES = {kind: name for name, kind in KINDS.items()}


class Faults:
    """Queues of outcomes per call and symbol, each used once."""

    def __init__(self) -> None:
        self._queues: defaultdict[tuple[str, str], deque[Fault]] = defaultdict(deque)

    def script(self, op: str, symbol: str, faults: Iterable[Fault]) -> None:
        """Queue outcomes for the next calls of `op`; raises ValueError for a trade fault on a query."""
        queued = list(faults)
        if op != "order_send" and any(isinstance(fault, TradeFault) for fault in queued):
            raise ValueError(f"{op} sends no order, so only transport faults fit it")
        self._queues[op, symbol].extend(queued)

    def take(self, op: str, symbol: str) -> Fault | None:
        """The fault for this call, the symbol's own before those for any symbol."""
        for key in ((op, symbol), (op, ANY_SYMBOL)):
            if self._queues.get(key):
                return self._queues[key].popleft()
        return None

    def clear(self) -> None:
        self._queues.clear()


def to_wire(fault: Fault) -> dict[str, Any]:
    fields = {name: str(v) if isinstance(v, Decimal) else v for name, v in asdict(fault).items()}
    return {"kind": NAMES[type(fault)], **fields}


def from_wire(message: Mapping[str, Any]) -> Fault:
    """Raises ValueError for an unknown kind or wrong fields."""
    fields = dict(message)
    kind = KINDS.get(fields.pop("kind", ""))
    if kind is None:
        raise ValueError(f"no such fault: {message.get('kind')!r}, known are {', '.join(KINDS)}")
    if "fraction" in fields:
        fields["fraction"] = Decimal(fields["fraction"])
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(f"{message['kind']}: {error}") from error
