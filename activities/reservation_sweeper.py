"""Ends reservations whose trade nobody carries on any more, beside the workflows that end all others.

1. Nothing that was claimed, taken up anew or left unresolved expires: it may be at the broker.
2. A workflow that runs, however slowly, keeps its reservation; only its server can say that it is gone.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from db import abandoned
from db.abandoned import Candidate
from db.journal import raise_alert

# Well behind the deadline: a worker that was away goes on with its workflows first.
GRACE = timedelta(minutes=1)
ACTOR = "pipeline:sweeper"

_GONE = frozenset(
    {
        WorkflowExecutionStatus.CANCELED,
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.TERMINATED,
        WorkflowExecutionStatus.TIMED_OUT,
    }
)

log = logging.getLogger(__name__)


class ReservationSweeper:
    def __init__(self, engine: AsyncEngine, client: Client, *, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._client = client
        self._now = now

    async def sweep(self) -> int:
        """Look at every reservation that waits too long; how many were expired."""
        async with self._engine.connect() as connection:
            waiting = await abandoned.candidates(connection, now=self._now(), grace=GRACE)
        expired = 0
        for candidate in waiting:
            status = await self._status(candidate)
            if status in _GONE:
                async with self._engine.begin() as connection:
                    await abandoned.expire(connection, candidate.trade_id, actor=ACTOR)
                expired += 1
                log.warning("the reservation of trade %s has expired", candidate.trade_id)
            elif status is None or status is WorkflowExecutionStatus.COMPLETED:
                await self._alert_put_back(candidate)
        return expired

    async def _status(self, candidate: Candidate) -> WorkflowExecutionStatus | None:
        """None for a workflow that its server does not know."""
        try:
            return (await self._client.get_workflow_handle(candidate.workflow_id).describe()).status
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _alert_put_back(self, candidate: Candidate) -> None:
        """A trade that its workflow has carried to its end is pending only in books that were put back."""
        async with self._engine.begin() as connection:
            await raise_alert(
                connection,
                "put_back",
                key=f"put_back:{candidate.trade_id}",
                severity="critical",
                summary=f"trade {candidate.trade_id} is pending here and its workflow {candidate.workflow_id} has "
                "ended or is not known: books or Temporal were put back; look at the broker what became of it",
                account_id=None,
                trade_id=candidate.trade_id,
            )
