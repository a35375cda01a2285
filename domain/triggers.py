"""What stops trading by itself, and how far: a trigger that trips sets a stop, and only a person ends it.

1. A loss limit that is reached lets positions be reduced and nothing opened, for whoever the limit is of.
2. What shows that our own control has failed (a send too many) halts.
3. A trigger that cannot be evaluated trips as well: not knowing is no reason to go on.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.controls import ControlScope, ControlState
from domain.stops import Stop, StopCause

_HALTS = frozenset({StopCause.SURPLUS_SEND, StopCause.AUDIT_BROKEN, StopCause.UNEXPLAINED_DIFFERENCE})


@dataclass(frozen=True, kw_only=True)
class Tripped:
    """Why trading stops, and where."""

    cause: StopCause
    scope: ControlScope
    scope_id: str
    reason: str


def stop_of(tripped: Tripped, *, stop_id: UUID, actor: str, now: datetime) -> Stop:
    """A trigger closes nothing by itself: what is open stays as it was, with its stops at the broker."""
    halts = tripped.cause in _HALTS
    return Stop(
        stop_id=stop_id,
        scope=tripped.scope,
        scope_id=tripped.scope_id,
        mode=ControlState.HALTED if halts else ControlState.REDUCE_ONLY,
        cancel_orders=True,
        flatten=False,
        include_external=False,
        cause=tripped.cause,
        reason=tripped.reason,
        requested_by=actor,
        resume_role="admin",
        requested_at=now,
    )
