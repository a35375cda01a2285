"""The audit record over REST: what was done, by whom, and how far it is sealed."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.cursors import CursorQuery, LimitQuery, after_row, event_place
from api.dependencies import CallerDep, ConnectionsDep
from api.errors import Problem
from api.fields import Instant, Reason
from api.views import View
from db import audit_faults
from db.audit_faults import NotedFault
from db.audit_listings import AuditFilter, list_audit
from db.audit_standing import AuditStanding, read_audit_standing
from domain.audit import FaultKind

router = APIRouter(prefix="/api/audit", tags=["audit"])

FaultId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Word = Annotated[str | None, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class AuditRow(View):
    """One change: `detail` says what it was before and after, and why; without a `seq` it is not sealed yet."""

    id: int
    seq: int | None
    hash: str | None
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    address: str | None
    request_id: str | None
    trace_id: str | None
    key_id: str | None
    process: str | None
    role: str | None
    version: str | None

    @classmethod
    def of_books(cls, row: dict[str, Any]) -> Self:
        return cls.model_validate({**row, "hash": None if row["hash"] is None else row["hash"].hex()})


class AuditRows(View):
    items: list[AuditRow]
    next_cursor: str | None


class Standing(View):
    """`unsealed_ms` is how long the oldest row without a seal has waited; null where every row has one."""

    sealed_seq: int
    digest: str | None
    sealed_at: datetime | None
    unsealed_ms: int | None
    anchored_seq: int | None
    anchored_at: datetime | None
    places: list[str]
    faults: int

    @classmethod
    def of_books(cls, standing: AuditStanding) -> Self:
        waiting = standing.unsealed_for
        return cls.model_validate(
            {
                **vars(standing),
                "digest": None if standing.digest is None else standing.digest.hex(),
                "unsealed_ms": None if waiting is None else max(0, int(waiting.total_seconds() * 1000)),
            }
        )


class AuditFault(View):
    """What is not as it was sealed. It stops trading until somebody has looked into it and accepts it."""

    id: int
    kind: FaultKind
    message: str
    found_at: datetime
    accepted_at: datetime | None
    accepted_by: str | None
    reason: str | None


class AuditStatus(View):
    standing: Standing
    faults: list[AuditFault]


class AcceptBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"reason": "restored from the nightly backup"}]},
    )

    reason: Reason


class AuditQuery(BaseModel):
    model_config = ConfigDict(frozen=True)

    actor: Word = None
    action: Annotated[Word, Field(description="As `trade.filled`, or its first word for all of its kind")] = None
    subject: Annotated[Word, Field(description="As `trade:<id>`, `user:<id>`, `limit:<name>`")] = None
    request_id: Word = None
    since: Instant | None = None
    until: Instant | None = None


@router.get("")
async def audit(
    connected: ConnectionsDep,
    caller: CallerDep,
    *,
    wanted: Annotated[AuditQuery, Query()],
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> AuditRows:
    """Every change, the newest first. For the roles risk and admin."""
    del caller
    before = event_place(cursor) or None
    rows = await connected.books.read(
        lambda connection: list_audit(connection, AuditFilter(**vars(wanted)), limit=limit + 1, before=before)
    )
    last = rows[limit - 1] if len(rows) > limit else None
    return AuditRows(
        items=[AuditRow.of_books(row) for row in rows[:limit]],
        next_cursor=None if last is None else after_row(last["id"]),
    )


@router.get("/status")
async def audit_status(connected: ConnectionsDep, caller: CallerDep) -> AuditStatus:
    """How far the record is sealed and anchored, and every fault that was ever found in it."""
    del caller
    standing = await connected.books.read(read_audit_standing)
    faults = await connected.books.read(audit_faults.list_all)
    return AuditStatus(standing=Standing.of_books(standing), faults=[_fault(each) for each in faults])


@router.post("/faults/{fault_id}/accept")
async def accept(fault_id: FaultId, body: AcceptBody, connected: ConnectionsDep, caller: CallerDep) -> AuditFault:
    """Note that you have looked into a fault; the same again changes nothing. For the roles risk and admin."""
    actor = f"user:{caller.id}"
    accepted = await connected.books.change(
        lambda connection: audit_faults.accept(connection, fault_id, actor=actor, reason=body.reason)
    )
    if accepted is None:
        every = await connected.books.read(audit_faults.list_all)
        accepted = next((each for each in every if each.id == fault_id), None)
    if accepted is None:
        raise Problem(404, "audit_fault_not_found", f"there is no audit fault {fault_id}")
    if (accepted.accepted_by, accepted.reason) != (actor, body.reason):
        raise Problem(409, "audit_fault_accepted", f"audit fault {fault_id} is accepted by {accepted.accepted_by}")
    return _fault(accepted)


def _fault(fault: NotedFault) -> AuditFault:
    return AuditFault.model_validate(vars(fault))
