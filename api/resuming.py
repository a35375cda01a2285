"""Trading opened again: by a role above the stop's, once its cause is over, and by two persons if critical."""

from datetime import UTC, datetime
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import StrictBool
from sqlalchemy.ext.asyncio import AsyncConnection

from api.callers import Caller
from api.connections import Connections
from api.dependencies import CallerDep, ConnectionsDep
from api.errors import Problem
from api.fields import Reason
from api.proofs import require_proof
from api.second_person import AWAITED, Approval, ask_second_person, awaited
from api.stops import Place
from api.views import View
from db import stops
from db.approvals import Approved
from db.resumption import remaining_causes
from db.stops import StopProgress
from db.users import Role, User
from domain.controls import ControlScope, ControlState
from domain.errors import CauseRemains

router = APIRouter(prefix="/api/system", tags=["system"])


class ResumeBody(Place):
    """`abandon` ends a stop that is still closing positions."""

    reason: Reason
    abandon: StrictBool = False


class Resumed(View):
    scope: ControlScope
    scope_id: str
    state: ControlState
    stops: list[UUID]


@router.post("/resume", response_model=Resumed, responses=AWAITED)
async def resume(body: ResumeBody, connected: ConnectionsDep, caller: CallerDep) -> Response | Resumed:
    """Open trading again: by a role above the stop's, with a reason, and only once its cause is over.

    A stop of risk, an admin or a trigger takes a second person where two persons are asked for.
    """
    require_proof(caller, connected)
    answer = await connected.books.change(lambda connection: _resume_or_ask(connection, connected, caller, body))
    return awaited(answer) if isinstance(answer, Approval) else answer


async def carry_out(
    connection: AsyncConnection,
    connected: Connections,
    requester: User,
    body: ResumeBody,
    *,
    approved_by: UUID | None = None,
) -> Resumed:
    """Open trading again in the requester's name, or raise why not."""
    held = await _held(connection, connected, requester, body)
    scope_id = body.scope_id or ""
    await stops.resume(
        connection,
        body.scope,
        scope_id,
        actor=f"user:{requester.id}",
        reason=body.reason,
        approved_by=None if approved_by is None else f"user:{approved_by}",
    )
    ended = [each.stop.stop_id for each in held]
    return Resumed(scope=body.scope, scope_id=scope_id, state=ControlState.ACTIVE, stops=ended)


async def _resume_or_ask(
    connection: AsyncConnection, connected: Connections, caller: Caller, body: ResumeBody
) -> Resumed | Approval:
    held = await _held(connection, connected, caller.user, body)
    if not connected.rules.two_persons or not _critical(held):
        return await carry_out(connection, connected, caller.user, body)
    where = "everything" if body.scope is ControlScope.ALL else f"{body.scope} {body.scope_id}"
    return await ask_second_person(
        connection,
        caller,
        Approved.RESUME,
        body.model_dump(mode="json"),
        summary=f"open trading again for {where}: {body.reason}",
    )


async def _held(
    connection: AsyncConnection, connected: Connections, requester: User, body: ResumeBody
) -> tuple[StopProgress, ...]:
    """The stops to end; raises unless the requester may end them and nothing of what they were set for remains."""
    held = await stops.stopped(connection, body.scope, body.scope_id or "")
    if _critical(held) and requester.role is not Role.ADMIN:
        raise Problem(403, "role_forbidden", "this stop was set by risk, an admin or a trigger; an admin ends it")
    working = [each for each in held if each.ended_at is None]
    if working and not body.abandon:
        raise CauseRemains(
            f"stop {working[0].stop.stop_id} still closes positions; wait for its end, or resume with abandon"
        )
    causes = await remaining_causes(connection, held, now=datetime.now(UTC), data_age_max=connected.data_age_max)
    if causes:
        raise CauseRemains(f"what stopped trading is not over: {'; '.join(causes)}")
    return held


def _critical(held: tuple[StopProgress, ...]) -> bool:
    """Whether it was more than a trader's own stop; a control that no stop set is taken for that as well."""
    return not held or any(each.stop.resume_role == Role.ADMIN for each in held)
