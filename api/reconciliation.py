"""The reconciliation over REST: a run on request, and the runs that were."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from api.connections import Connections
from api.cursors import CursorQuery, LimitQuery, after_row, row_place
from api.dependencies import (
    CallerDep,
    ConnectionsDep,
    IdempotencyKeyHeader,
    one_key,
)
from api.errors import FieldFault, invalid, pipeline_unavailable
from api.fields import ClientId, DecimalText, Slug
from api.trades import scope_of
from api.views import View
from db.accounts import slugs_of
from db.reconciliation_listings import RunFilter, list_runs
from domain.errors import AccountNotFound
from domain.reconciliation import RunCause, Verdict
from workflows.reconciliation_messages import (
    run_workflow_id,
)
from workflows.reconciliation_schedule import start_run

router = APIRouter(tags=["reconciliation"])

# A workflow server that takes nothing by then is away, and the caller asks again under the same key.
_TAKEN_WITHIN_SECONDS = 0.8


class ReconcileBody(BaseModel):
    """Which account; without one, your only one."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"client_order_id": "reconcile-1"}]}
    )

    account: Slug | None = None
    client_order_id: ClientId | None = None
    wait_ms: Annotated[StrictInt, Field(ge=0, le=60_000, description="How long to wait for the run's end")] = (
        15_000
    )


class Explained(View):
    """What the broker's records prove since the run before; `tickets` are the first of them."""

    cause: str
    count: int
    amount: DecimalText
    tickets: list[int]


class Run(View):
    """One run. `totals` are in `currency`; `report` says after a start what happened meanwhile.

    An `inconclusive` run could not read both sides, or the books moved on; it changed nothing.
    """

    id: UUID
    account: str
    currency: str
    cause: RunCause
    verdict: Verdict
    reason: str | None
    began_at: datetime
    read_at: datetime | None
    ended_at: datetime
    duration_ms: int
    counts: dict[str, int]
    totals: dict[str, DecimalText]
    explained: list[Explained]
    report: dict[str, Any] | None

    @classmethod
    def of_books(cls, row: dict[str, Any]) -> Self:
        duration = row["ended_at"] - row["began_at"]
        return cls.model_validate({**row, "duration_ms": round(duration.total_seconds() * 1000)})


class Runs(View):
    items: list[Run]
    next_cursor: str | None


class Reconciled(View):
    """`run` is None while it has not ended; `temporal` shows where it stands."""

    account: str
    run: Run | None
    temporal: str


@router.post(
    "/api/trading/reconcile",
    response_model=Reconciled,
    responses={202: {"model": Reconciled, "description": "Begun; `wait_ms` passed before its end"}},
)
async def reconcile(
    body: ReconcileBody, connected: ConnectionsDep, caller: CallerDep, idempotency_key: IdempotencyKeyHeader = None
) -> Response:
    """Compare books and broker now. The same key again answers with the same run."""
    key = f"request-{caller.id.hex}-{one_key(body.client_order_id, idempotency_key)}"
    account = await _account(connected, scope_of(caller), body.account)
    try:
        async with asyncio.timeout(_TAKEN_WITHIN_SECONDS):
            handle = await start_run(connected.temporal, account, cause=RunCause.REQUEST, key=key)
    except (RPCError, RuntimeError, TimeoutError) as error:
        raise pipeline_unavailable() from error
    try:
        async with asyncio.timeout(body.wait_ms / 1000):
            concluded = await handle.result()
        rows = await connected.books.read(
            lambda connection: list_runs(connection, RunFilter(user_id=None, run_id=concluded.run_id), limit=1)
        )
    except (RPCError, TimeoutError, WorkflowFailureError):
        # It goes on by itself, or says in the Web UI why it does not.
        rows = []
    run = Run.of_books(rows[0]) if rows else None
    answer = Reconciled(account=account, run=run, temporal=connected.links.workflow(run_workflow_id(account, key)))
    return Response(answer.model_dump_json(), 202 if run is None else 200, media_type="application/json")


@router.get("/api/reconciliation/runs")
async def runs(
    connected: ConnectionsDep,
    caller: CallerDep,
    *,
    account: Annotated[Slug | None, Query()] = None,
    verdict: Verdict | None = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Runs:
    """The runs of your accounts, the newest first; those of all accounts for risk and admin."""
    wanted = RunFilter(user_id=scope_of(caller), account=account, verdict=verdict)
    before = row_place(cursor)
    rows = await connected.books.read(
        lambda connection: list_runs(connection, wanted, limit=limit + 1, before=before)
    )
    last = rows[limit - 1] if len(rows) > limit else None
    return Runs(
        items=[Run.of_books(row) for row in rows[:limit]],
        next_cursor=None if last is None else after_row(last["ended_at"], last["id"]),
    )


async def _account(connected: Connections, user_id: UUID | None, named: str | None) -> str:
    known = await connected.books.read(lambda connection: slugs_of(connection, user_id))
    if named is not None and named in known:
        return named
    if named is not None or not known:
        raise AccountNotFound(named)
    if len(known) > 1:
        raise invalid([FieldFault(field="account", message=f"name one of {', '.join(known)}")])
    return known[0]
