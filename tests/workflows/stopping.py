"""How a test stops trading at a desk, and what it then reads."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from temporalio.client import WorkflowHandle

from db import stops
from db.stops import StopProgress
from domain.controls import ControlScope, ControlState
from domain.stops import Stop, StopCause
from tests.desk import Desk, now
from tests.waiting import until
from workflows.stop_messages import STOP_WORKFLOW, StopInput, start_options


def make_stop(**changes: Any) -> Stop:
    """Halt everything, cancel and flatten."""
    values: dict[str, Any] = {
        "stop_id": uuid4(),
        "scope": ControlScope.ALL,
        "scope_id": "",
        "mode": ControlState.HALTED,
        "cancel_orders": True,
        "flatten": True,
        "include_external": False,
        "cause": StopCause.PERSON,
        "reason": "a test",
        "requested_by": "test",
        "resume_role": "admin",
        "requested_at": now(),
    }
    return Stop(**{**values, **changes})


async def latch(desk: Desk, stop: Stop) -> datetime:
    """Commit the stop as the API does; when it was latched."""
    async with desk.database.engine("api").begin() as connection:
        return (await stops.latch(connection, stop)).latched_at


async def carry_on(desk: Desk, stop: Stop) -> WorkflowHandle[Any, Any]:
    return await desk.client.start_workflow(STOP_WORKFLOW, StopInput(stop=stop), **start_options(stop))


async def progress_of(desk: Desk, stop_id: UUID) -> StopProgress:
    async with desk.engine.connect() as connection:
        return await stops.read_stop(connection, stop_id)


async def ended(desk: Desk, stop: Stop, *, timeout_seconds: float = 20.0) -> StopProgress:
    async def has_ended() -> bool:
        return (await progress_of(desk, stop.stop_id)).ended_at is not None

    await until(has_ended, what="the stop to end", timeout_seconds=timeout_seconds)
    return await progress_of(desk, stop.stop_id)


async def in_force(desk: Desk, stop: Stop) -> StopProgress:
    async def reached() -> bool:
        return (await progress_of(desk, stop.stop_id)).in_force_at is not None

    await until(reached, what="the stop to be in force")
    return await progress_of(desk, stop.stop_id)


async def resume(desk: Desk, stop: Stop) -> None:
    async with desk.database.engine("api").begin() as connection:
        await stops.resume(connection, stop.scope, stop.scope_id, actor="test", reason="the test goes on")
