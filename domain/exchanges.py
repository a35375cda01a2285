"""What went over the wire of a send, as the terminal took and gave it: evidence, which nothing decides by."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """The last request that was sent, and what came back; None for an answer that never came."""

    request: dict[str, Any]
    answer: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Exchanged:
    """An outcome that may know its exchange."""

    exchange: Exchange | None = field(default=None, compare=False)
