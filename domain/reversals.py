"""A reversal: a position closed in full, and only then one opened on the other side, by an order of its own.

1. The second order is never sent unless the first one filled in full, nor past the deadline of both.
2. How far it has come follows from the two trades and the clock alone, so the books can tell it for ever.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.orders import FINAL_STATES, OrderState

DEADLINE_PASSED = "deadline_passed"
# Another order came to the id of the opening one first.
OPENING_ID_TAKEN = "opening_id_taken"


class ReversalState(StrEnum):
    """`done` says that the opening order was decided, whatever its decision."""

    CLOSING = "closing"
    OPENING = "opening"
    DONE = "done"
    NOT_OPENED = "not_opened"


@dataclass(frozen=True, kw_only=True)
class Standing:
    state: ReversalState
    reason: str | None = None

    @property
    def decided(self) -> bool:
        return self.state in {ReversalState.DONE, ReversalState.NOT_OPENED}


def refusal_to_open(close: OrderState, *, now: datetime, open_by: datetime) -> str | None:
    """Why the opening order is not sent after a close that ended as `close`; None if it is."""
    if close is not OrderState.FILLED:
        return f"close_{close}"
    return DEADLINE_PASSED if now >= open_by else None


def standing(
    *, close: OrderState | None, opening: OrderState | None, now: datetime, open_by: datetime
) -> Standing:
    """How far it is; None for a trade that is not in the books."""
    if opening is not None:
        return Standing(state=ReversalState.OPENING if opening is OrderState.PENDING else ReversalState.DONE)
    if close is None or close not in FINAL_STATES:
        if now >= open_by:
            return Standing(state=ReversalState.NOT_OPENED, reason=DEADLINE_PASSED)
        return Standing(state=ReversalState.CLOSING)
    reason = refusal_to_open(close, now=now, open_by=open_by)
    return Standing(state=ReversalState.OPENING if reason is None else ReversalState.NOT_OPENED, reason=reason)
