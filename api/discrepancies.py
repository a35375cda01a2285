"""Discrepancies over REST: what nobody could explain, the effect of each decision, and a person's word."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from temporalio.client import WorkflowUpdateFailedError

from api.connections import Connections, Links
from api.cursors import CursorQuery, LimitQuery, after_row, row_place
from api.dependencies import (
    CallerDep,
    ConnectionsDep,
    IdempotencyKeyHeader,
    one_key,
)
from api.errors import of_code, pipeline_unavailable
from api.fields import ClientId, DecimalText, Reason, Slug
from api.trades import scope_of
from api.views import View
from db.reconciliation_listings import DiscrepancyFilter, list_discrepancies
from domain.discrepancies import DECIDED, WAITING, Decision, DiscrepancyState, effects
from domain.errors import DecisionRefused, DiscrepancyDecided, DiscrepancyNotFound
from domain.reconciliation import Difference, DifferenceKind, Tier
from workflows.deciding import NO_ANSWER, put_decision, refusal_of
from workflows.reconciliation_messages import Decide, discrepancy_workflow_id

router = APIRouter(prefix="/api/reconciliation", tags=["reconciliation"])

# A workflow server that takes nothing by then is away, and the caller asks again under the same key.
_TAKEN_WITHIN_SECONDS = 0.8
# A decision is one transaction; while the books are away, the server keeps it and a repeat finds it.
_DECIDED_WITHIN_SECONDS = 10.0


class DecideBody(BaseModel):
    """accept: the broker is right. adopt: the position is of no user. close: close it. dispute: it is wrong."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"client_order_id": "decide-1", "decision": "accept", "reason": "fee told by mail"}]
        },
    )

    client_order_id: ClientId | None = None
    decision: Decision
    reason: Reason


class Effect(View):
    """What a decision would do. `realised` is what closing would bring at the prices of now."""

    decision: Decision
    told: str
    balance: DecimalText | None
    lots: DecimalText | None
    realised: DecimalText | None
    objection: str | None


class Discrepancy(View):
    """What the books have (`ours`), what the broker shows (`theirs`), and what that is worth in US dollars.

    Without `impact_usd` nothing converts it, and it counts as beyond every bound. `effects` are there while it
    waits for a decision.
    """

    id: UUID
    account: str
    currency: str
    kind: DifferenceKind
    subject: str
    symbol: str
    state: DiscrepancyState
    tier: Tier
    ours: DecimalText | None
    theirs: DecimalText | None
    impact_usd: DecimalText | None
    evidence: dict[str, Any]
    first_run_id: UUID
    last_run_id: UUID
    run_count: int
    found_at: datetime
    seen_at: datetime
    decision: Decision | None
    decided_by: str | None
    reason: str | None
    ended_at: datetime | None
    event_id: UUID | None
    cause: str | None
    cause_ticket: int | None
    effects: list[Effect]
    temporal: str

    @classmethod
    def of_books(cls, row: dict[str, Any], links: Links) -> Self:
        difference = Difference(
            kind=DifferenceKind(row["kind"]),
            subject=row["subject"],
            symbol=row["symbol"],
            number=row["number"],
            ours=row["ours"],
            theirs=row["theirs"],
            impact=row["impact_usd"],
        )
        asked = row["state"] in WAITING - {DiscrepancyState.KEPT_OUT}
        shown = [vars(each) for each in effects(difference, floating=row["floating"])] if asked else []
        temporal = links.workflow(discrepancy_workflow_id(row["id"]))
        return cls.model_validate({**row, "effects": shown, "temporal": temporal})


class Discrepancies(View):
    items: list[Discrepancy]
    next_cursor: str | None


@router.get("/discrepancies")
async def discrepancies(
    connected: ConnectionsDep,
    caller: CallerDep,
    *,
    account: Annotated[Slug | None, Query()] = None,
    state: DiscrepancyState | None = None,
    waiting: Annotated[bool | None, Query(description="Whether it has no end yet")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Discrepancies:
    """What no record explained, the newest first, with what each decision would do."""
    wanted = DiscrepancyFilter(user_id=scope_of(caller), account=account, state=state, waiting=waiting)
    before = row_place(cursor)
    rows = await connected.books.read(
        lambda connection: list_discrepancies(connection, wanted, limit=limit + 1, before=before)
    )
    last = rows[limit - 1] if len(rows) > limit else None
    return Discrepancies(
        items=[Discrepancy.of_books(row, connected.links) for row in rows[:limit]],
        next_cursor=None if last is None else after_row(last["found_at"], last["id"]),
    )


@router.get("/discrepancies/{discrepancy_id}")
async def discrepancy(discrepancy_id: UUID, connected: ConnectionsDep, caller: CallerDep) -> Discrepancy:
    """One discrepancy with the evidence of both sides, and what each decision would do."""
    return Discrepancy.of_books(await _row(connected, scope_of(caller), discrepancy_id), connected.links)


@router.post("/discrepancies/{discrepancy_id}/decide")
async def decide(
    discrepancy_id: UUID,
    body: DecideBody,
    connected: ConnectionsDep,
    caller: CallerDep,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Discrepancy:
    """Decide what becomes of it, in your name; the same again changes nothing. For the roles risk and admin."""
    # The same key of another person is another decision.
    key = f"{caller.id.hex}-{one_key(body.client_order_id, idempotency_key)}"
    said = Decide(decision=body.decision, decided_by=f"user:{caller.id}", reason=body.reason)
    row = await _row(connected, None, discrepancy_id)
    if row["state"] == DiscrepancyState.KEPT_OUT:
        raise DecisionRefused(f"{row['subject']} is in motion; a later run asks, if it stays")
    if row["state"] in WAITING:
        await _put(connected, discrepancy_id, said, key=key)
        row = await _row(connected, None, discrepancy_id)
    if (row["decision"], row["decided_by"], row["reason"]) != (said.decision, said.decided_by, said.reason):
        raise DiscrepancyDecided(discrepancy_id, row["state"])
    assert row["state"] == DECIDED[said.decision] or row["state"] == DiscrepancyState.EXPLAINED, (
        "a decision stands until a record explains what was decided"
    )
    return Discrepancy.of_books(row, connected.links)


async def _put(connected: Connections, discrepancy_id: UUID, said: Decide, *, key: str) -> None:
    """Have the discrepancy's workflow carry the decision out."""
    try:
        async with asyncio.timeout(_TAKEN_WITHIN_SECONDS):
            taken = await put_decision(connected.temporal, discrepancy_id, said, key=key)
        async with asyncio.timeout(_DECIDED_WITHIN_SECONDS):
            _ = await taken.result()
    except WorkflowUpdateFailedError as error:
        refusal = refusal_of(error)
        problem = None if refusal is None else of_code(refusal.type, refusal.message)
        if problem is None:
            raise
        raise problem from error
    except NO_ANSWER as error:
        raise pipeline_unavailable() from error


async def _row(connected: Connections, user_id: UUID | None, discrepancy_id: UUID) -> dict[str, Any]:
    wanted = DiscrepancyFilter(user_id=user_id, discrepancy_id=discrepancy_id)
    rows = await connected.books.read(lambda connection: list_discrepancies(connection, wanted, limit=1))
    if not rows:
        raise DiscrepancyNotFound(discrepancy_id)
    return rows[0]
