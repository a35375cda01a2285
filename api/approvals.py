"""The second person: what waits for one, and their word on it, which is carried out in the same transaction."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncConnection

from api import limits, resuming
from api.callers import Caller
from api.connections import Connections
from api.dependencies import CallerDep, ConnectionsDep
from api.errors import Problem
from api.fields import Reason
from api.limits import NamedLimit
from api.proofs import require_proof
from api.resuming import ResumeBody
from api.rights import Right, has_right
from api.second_person import Approval
from api.views import View
from db import approvals
from db.approvals import ApprovalState, Approved
from db.users import User, get_user

router = APIRouter(prefix="/api/approvals", tags=["approvals"])

_RIGHTS = {Approved.RESUME: Right.RESUME, Approved.LIMIT: Right.LIMIT}


class WordBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "checked with the broker's desk"}]}
    )

    reason: Reason


class Approvals(View):
    items: list[Approval]


@router.get("")
async def list_approvals(
    connected: ConnectionsDep,
    _: CallerDep,
    *,
    waiting: Annotated[bool | None, Query(description="Whether it may still be decided")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Approvals:
    """What waits for a second person, and what became of the rest, the newest first. For risk and admin."""
    found = await connected.books.read(
        lambda connection: approvals.list_approvals(connection, waiting=waiting, limit=limit)
    )
    return Approvals(items=[Approval.of_books(each) for each in found])


@router.get("/{approval_id}")
async def read_approval(approval_id: UUID, connected: ConnectionsDep, _: CallerDep) -> Approval:
    """One of them. For risk and admin."""
    found = await connected.books.read(lambda connection: approvals.find(connection, approval_id))
    if found is None:
        raise _not_found(approval_id)
    return Approval.of_books(found)


@router.post("/{approval_id}/approve")
async def approve(approval_id: UUID, body: WordBody, connected: ConnectionsDep, caller: CallerDep) -> Approval:
    """Have it carried out, in the name of whoever asked. For another person of the roles risk and admin.

    If it cannot be carried out, the answer says why, and it goes on waiting.
    """
    require_proof(caller, connected)

    async def carry_out(connection: AsyncConnection) -> Approval:
        held = await _held(connection, caller, approval_id, becomes=ApprovalState.APPROVED)
        if held.state is not ApprovalState.WAITING:
            return Approval.of_books(held)
        await _carry_out(connection, connected, held, approved_by=caller.id)
        return await _decide(connection, caller, held, body, state=ApprovalState.APPROVED)

    return await connected.books.change(carry_out)


@router.post("/{approval_id}/refuse")
async def refuse(approval_id: UUID, body: WordBody, connected: ConnectionsDep, caller: CallerDep) -> Approval:
    """Have nothing done. For another person of the roles risk and admin."""

    async def refuse_held(connection: AsyncConnection) -> Approval:
        held = await _held(connection, caller, approval_id, becomes=ApprovalState.REFUSED)
        if held.state is not ApprovalState.WAITING:
            return Approval.of_books(held)
        return await _decide(connection, caller, held, body, state=ApprovalState.REFUSED)

    return await connected.books.change(refuse_held)


async def _held(
    connection: AsyncConnection, caller: Caller, approval_id: UUID, *, becomes: ApprovalState
) -> approvals.Approval:
    """The approval, locked: one that waits, or that the caller has decided just so before. Raises otherwise."""
    found = await approvals.hold(connection, approval_id)
    if found is None:
        raise _not_found(approval_id)
    if found.requested_by == caller.id:
        raise Problem(403, "second_person_required", "you asked for it yourself; another person has to decide it")
    if found.state is ApprovalState.EXPIRED:
        raise Problem(409, "approval_expired", f"its time was over at {found.expires_at}; have it asked for again")
    repeats = found.state is becomes and found.decided_by == caller.id
    if found.state is not ApprovalState.WAITING and not repeats:
        raise Problem(409, "approval_decided", f"it was {found.state} by {found.decided_by_name} already")
    return found


async def _carry_out(
    connection: AsyncConnection, connected: Connections, held: approvals.Approval, *, approved_by: UUID
) -> None:
    requester = await _requester(connection, held)
    match held.what:
        case Approved.RESUME:
            resume = ResumeBody.model_validate(held.body)
            await resuming.carry_out(connection, connected, requester, resume, approved_by=approved_by)
        case Approved.LIMIT:
            limit = NamedLimit.model_validate(held.body)
            await limits.carry_out(connection, requester, limit, approved_by=approved_by)


async def _requester(connection: AsyncConnection, held: approvals.Approval) -> User:
    """Whoever asked, if they might still ask for it."""
    requester = await get_user(connection, held.requested_by)
    if requester is None or not requester.enabled or not has_right(_RIGHTS[held.what], requester.role):
        detail = f"{held.requested_by_name}, who asked for it, may no longer do so; refuse it"
        raise Problem(409, "requester_forbidden", detail)
    return requester


async def _decide(
    connection: AsyncConnection, caller: Caller, held: approvals.Approval, body: WordBody, *, state: ApprovalState
) -> Approval:
    decided = await approvals.decide(connection, held, state=state, decided_by=caller.id, reason=body.reason)
    return Approval.of_books(decided)


def _not_found(approval_id: UUID) -> Problem:
    return Problem(404, "approval_not_found", f"there is no approval {approval_id}")
