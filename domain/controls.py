"""The stop: whether trading is open, for everything or for a part of it."""

from dataclasses import dataclass
from enum import StrEnum


class ControlScope(StrEnum):
    ALL = "all"
    ACCOUNT = "account"
    USER = "user"
    SYMBOL = "symbol"


class ControlState(StrEnum):
    ACTIVE = "active"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


@dataclass(frozen=True, kw_only=True)
class Control:
    scope: ControlScope
    scope_id: str
    state: ControlState
    reason: str

    def blocks(self, *, reducing: bool, stopping: bool = False) -> bool:
        """Whether an order may not go; a close that a stop itself makes passes every stop."""
        if stopping:
            return False
        return self.state is ControlState.HALTED or (self.state is ControlState.REDUCE_ONLY and not reducing)
