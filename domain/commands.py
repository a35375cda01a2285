"""Commands to a trade: what was asked of it, and what became of that."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class CommandEnd(StrEnum):
    """`UNKNOWN` is no answer that proves anything; asking again is harmless."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A cancel, a modification or a person's decision; `body_hash` tells another one under the same key apart."""

    trade_id: UUID
    key: str
    kind: str
    body_hash: str
    requested_by: UUID


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    outcome: CommandEnd
    reason: str | None
