"""The emergency stop over REST: latched before the answer, and carried on by its workflow."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Self
from uuid import UUID, uuid5

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from api.connections import Connections
from api.dependencies import CallerDep, ConnectionsDep, IdempotencyKeyHeader, one_key
from api.errors import FieldFault, Problem, invalid
from api.fields import ClientId, Reason, Symbol
from api.views import View
from db import stops
from db.stops import StopProgress
from db.users import Role, User
from domain.controls import ControlScope, ControlState
from domain.stops import Stop, StopCause
from workflows.stop_messages import STOP_WORKFLOW, StopInput, start_options, workflow_id

router = APIRouter(prefix="/api/system", tags=["system"])

_LOOK_AGAIN_SECONDS = 0.02
# The latch is committed by then, so nobody waits for long to hear of it.
_CARRY_ON_SECONDS = 1.0


class Place(BaseModel):
    """Where: everything, or an account (slug), a user (id) or a symbol."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scope: ControlScope = ControlScope.ALL
    scope_id: Symbol | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.scope is ControlScope.ALL) != (self.scope_id is None):
            raise ValueError("scope_id goes with the scopes account, user and symbol, and is required there")
        return self


class StopBody(Place):
    """`halted` lets nothing out but the stop's own closes; `reduce_only` also what reduces a position.

    Orders and positions that are not ours are left alone unless `include_external`.
    """

    client_order_id: ClientId | None = None
    mode: ControlState = ControlState.HALTED
    cancel_orders: StrictBool = True
    flatten: StrictBool = False
    include_external: StrictBool = False
    reason: Reason
    wait_ms: Annotated[StrictInt, Field(ge=0, le=30_000, description="How long to wait for the stop's end")] = (
        1_000
    )


class EmergencyStop(View):
    """`in_force_at`: from then on nothing left but what carries the stop's id; sends without an end are named.

    `certificate` says what was in flight, cancelled and closed, at what cost, what the stop left alone, and what
    is still open and why. `flat_at` is set once the broker shows nothing that the stop covers. `carried_on` is
    false while no workflow could be started: the latch stands, and closing begins when Temporal is back.
    """

    id: UUID
    scope: ControlScope
    scope_id: str
    mode: ControlState
    cancel_orders: bool
    flatten: bool
    include_external: bool
    cause: StopCause
    reason: str
    requested_by: str
    resume_role: str
    requested_at: datetime
    latched_at: datetime
    in_force_at: datetime | None
    flat_at: datetime | None
    ended_at: datetime | None
    resumed_at: datetime | None
    certificate: dict[str, Any]
    carried_on: bool
    temporal: str


class EmergencyStops(View):
    items: list[EmergencyStop]


@router.post("/emergency-stop", status_code=201)
async def emergency_stop(
    body: StopBody, connected: ConnectionsDep, caller: CallerDep, idempotency_key: IdempotencyKeyHeader = None
) -> EmergencyStop:
    """Stop trading at once. The answer comes once the latch is committed, and waits a little for the end."""
    key = one_key(body.client_order_id, idempotency_key)
    stop = _stop(body, caller.user, stop_id=uuid5(caller.id, f"stop:{key}"))
    progress = await connected.books.change(lambda connection: stops.latch(connection, stop))
    if progress.resumed_at is not None:
        raise Problem(409, "stop_over", f"stop {stop.stop_id} of this key is over; stop again under a new key")
    carried_on = progress.ended_at is not None or await _carry_on(connected, progress.stop)
    if carried_on:
        progress = await _until_done(connected, progress, wait_seconds=body.wait_ms / 1000)
    return _view(connected, progress, carried_on=carried_on)


@router.get("/stops")
async def list_stops(
    connected: ConnectionsDep, _: CallerDep, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> EmergencyStops:
    """The stops, the newest first."""
    found = await connected.books.read(lambda connection: stops.list_stops(connection, limit=limit))
    return EmergencyStops(items=[_view(connected, each, carried_on=True) for each in found])


@router.get("/stops/{stop_id}")
async def read_stop(stop_id: UUID, connected: ConnectionsDep, _: CallerDep) -> EmergencyStop:
    """One stop with its certificate."""
    progress = await connected.books.read(lambda connection: stops.read_stop(connection, stop_id))
    return _view(connected, progress, carried_on=True)


def _stop(body: StopBody, user: User, *, stop_id: UUID) -> Stop:
    if body.mode is ControlState.ACTIVE:
        raise invalid([FieldFault(field="mode", message="is halted or reduce_only; trading is opened by resume")])
    own = (body.scope, body.scope_id) == (ControlScope.USER, str(user.id))
    if not user.role.sees_all and not own:
        raise Problem(
            403,
            "role_forbidden",
            f'a trader stops their own trading: send scope "user" and scope_id "{user.id}"; the rest is for risk',
        )
    return Stop(
        stop_id=stop_id,
        scope=body.scope,
        scope_id=body.scope_id or "",
        mode=body.mode,
        cancel_orders=body.cancel_orders,
        flatten=body.flatten,
        include_external=body.include_external,
        cause=StopCause.PERSON,
        reason=body.reason,
        requested_by=f"user:{user.id}",
        # Whoever stops everybody is ended by the role above.
        resume_role=Role.ADMIN if user.role.sees_all else Role.RISK,
        requested_at=datetime.now(UTC),
    )


async def _carry_on(connected: Connections, stop: Stop) -> bool:
    """Start the stop's workflow; without Temporal the latch stands, and the account's feed starts it later."""
    starting = connected.temporal.start_workflow(STOP_WORKFLOW, StopInput(stop=stop), **start_options(stop))
    try:
        await asyncio.wait_for(starting, _CARRY_ON_SECONDS)
    except WorkflowAlreadyStartedError:
        # It has run to its end: this is a repeat of the request.
        return True
    except (RPCError, RuntimeError, TimeoutError):
        # A client that has never reached the server says so by a RuntimeError.
        return False
    return True


async def _until_done(connected: Connections, progress: StopProgress, *, wait_seconds: float) -> StopProgress:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + wait_seconds
    stop_id = progress.stop.stop_id
    while progress.ended_at is None and loop.time() < ends_at:
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        progress = await connected.books.read(lambda connection: stops.read_stop(connection, stop_id))
    return progress


def _view(connected: Connections, progress: StopProgress, *, carried_on: bool) -> EmergencyStop:
    stop = progress.stop
    return EmergencyStop.model_validate(
        {
            **vars(stop),
            **vars(progress),
            "id": stop.stop_id,
            "carried_on": carried_on,
            "temporal": connected.links.workflow(workflow_id(stop.stop_id)),
        }
    )
