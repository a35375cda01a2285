"""Commands to a trade: cancel and modify, which a fill may beat, and a person's word on an unresolved one."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator
from temporalio.client import (
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api import views
from api.callers import Caller
from api.connections import Connections
from api.dependencies import CallerDep, ConnectionsDep, IdempotencyKeyHeader, one_key
from api.errors import pipeline_unavailable
from api.fields import ClientId, Instant, LevelDecimal, PositiveDecimal, as_price, body_digest
from api.trades import scope_of
from db.trade_views import KnownCommand, read_command, read_trade
from domain.errors import CommandConflict, NotCancellable, NotUnresolved, PipelineError, TradeNotFound
from domain.orders import FINAL_STATES, Changes, OrderState
from workflows.trade import TradeWorkflow
from workflows.trade_messages import CancelTrade, CommandAnswer, ModifyTrade, ResolveTrade

router = APIRouter(prefix="/api/trading", tags=["trading"])

# A command that no worker has taken by then is not accepted, and the caller is told to ask again.
_ACCEPTED_WITHIN_SECONDS = 0.8

# The workflow refused it, or ended while it was waiting its turn.
_TOO_LATE = frozenset({NotCancellable.code, NotUnresolved.code, "AcceptedUpdateCompletedWorkflow"})

CommandWaitMs = Annotated[
    StrictInt, Field(ge=0, le=30_000, description="How long to wait for the broker's answer before answering 202")
]

_ANSWERS: dict[int | str, dict[str, object]] = {
    200: {"model": views.CommandAnswered, "description": "Carried out, refused, or of unknown outcome"},
    202: {"model": views.CommandAnswered, "description": "Accepted; `wait_ms` passed before the broker's answer"},
}


class CancelBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"client_order_id": "cancel-1"}]}
    )

    client_order_id: ClientId | None = None
    wait_ms: CommandWaitMs = 5_000


class ModifyBody(BaseModel):
    """New levels of a working order; a field that is left out keeps its level, "0" removes a stop."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"client_order_id": "modify-1", "stop_loss": "1.05000"}]},
    )

    client_order_id: ClientId | None = None
    price: PositiveDecimal | None = None
    stop_limit_price: PositiveDecimal | None = None
    stop_loss: LevelDecimal | None = None
    take_profit: LevelDecimal | None = None
    expires_at: Instant | None = None
    wait_ms: CommandWaitMs = 5_000

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if all(value is None for value in self.levels().values()):
            raise ValueError("names nothing to change")
        return self

    def levels(self) -> dict[str, object]:
        return self.model_dump(exclude={"client_order_id", "wait_ms"})


class ResolveBody(BaseModel):
    """A person's word on an unresolved trade: the order's number at the broker, or that there is no order."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"client_order_id": "resolve-1", "verdict": "absent", "reason": "broker's desk: none"}]
        },
    )

    client_order_id: ClientId | None = None
    verdict: Literal["taken", "absent"]
    broker_order_id: Annotated[StrictInt, Field(gt=0)] | None = None
    reason: Annotated[str, Field(min_length=3, max_length=500)]
    wait_ms: CommandWaitMs = 5_000

    @model_validator(mode="after")
    def _names_what_was_taken(self) -> Self:
        if (self.verdict == "taken") != (self.broker_order_id is not None):
            raise ValueError("broker_order_id goes with the verdict taken, and only with it")
        return self


_Handle = WorkflowHandle[TradeWorkflow, object]


@dataclass(frozen=True, kw_only=True)
class _Command:
    """A command on its way to a trade's workflow, under the name of the update that carries it out."""

    kind: str
    key: str
    trade_id: UUID
    body_hash: str
    wait_seconds: float
    message: CancelTrade | ModifyTrade | ResolveTrade


@router.post("/trades/{trade_id}/cancel", response_model=views.CommandAnswered, responses=_ANSWERS)
async def cancel(
    trade_id: UUID,
    connected: ConnectionsDep,
    caller: CallerDep,
    body: CancelBody | None = None,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Cancel what is not filled yet. The same key again gives the same answer."""
    asked = body or CancelBody()
    key = one_key(asked.client_order_id, idempotency_key)
    message = CancelTrade(key=key, requested_by=caller.id, body_hash=body_digest({"kind": "cancel"}))
    return await _carry_out(connected, caller, _command("cancel", trade_id, message, wait_ms=asked.wait_ms))


@router.post("/trades/{trade_id}/modify", response_model=views.CommandAnswered, responses=_ANSWERS)
async def modify(
    trade_id: UUID,
    body: ModifyBody,
    connected: ConnectionsDep,
    caller: CallerDep,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Change the levels of a working order. Refused where that would claim more risk than is reserved."""
    message = ModifyTrade(
        key=one_key(body.client_order_id, idempotency_key),
        requested_by=caller.id,
        body_hash=body_digest({"kind": "modify", **body.levels()}),
        changes=Changes(
            price=as_price(body.price),
            stop_limit_price=as_price(body.stop_limit_price),
            stop_loss=as_price(body.stop_loss),
            take_profit=as_price(body.take_profit),
            expires_at=body.expires_at,
        ),
    )
    return await _carry_out(connected, caller, _command("modify", trade_id, message, wait_ms=body.wait_ms))


@router.post("/trades/{trade_id}/resolve", response_model=views.CommandAnswered, responses=_ANSWERS)
async def resolve(
    trade_id: UUID,
    body: ResolveBody,
    connected: ConnectionsDep,
    caller: CallerDep,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Decide what became of an unresolved send, in your name. For the roles risk and admin.

    Whatever the broker shows later is booked all the same, and raises an alert.
    """
    said = {"verdict": body.verdict, "broker_order_id": body.broker_order_id, "reason": body.reason}
    message = ResolveTrade(
        key=one_key(body.client_order_id, idempotency_key),
        requested_by=caller.id,
        body_hash=body_digest({"kind": "resolve", **said}),
        broker_order_id=body.broker_order_id,
        reason=body.reason,
    )
    return await _carry_out(connected, caller, _command("resolve", trade_id, message, wait_ms=body.wait_ms))


def _command(
    kind: str, trade_id: UUID, message: CancelTrade | ModifyTrade | ResolveTrade, *, wait_ms: int
) -> _Command:
    return _Command(
        kind=kind,
        key=message.key,
        trade_id=trade_id,
        body_hash=message.body_hash,
        wait_seconds=wait_ms / 1000,
        message=message,
    )


async def _carry_out(connected: Connections, caller: Caller, command: _Command) -> Response:
    known = await _known(connected, caller, command)
    if known.outcome is not None:
        return await _answer(connected, caller, command, known=known)
    if known.state in FINAL_STATES:
        raise _too_late(command.kind, known.state)
    handle = connected.temporal.get_workflow_handle_for(TradeWorkflow.run, known.workflow_id)
    answer = await _send(handle, command, state=known.state)
    if answer is not None and answer.conflict:
        raise CommandConflict(command.key)
    # The update's id is the key alone: whether it was this command is known to the books.
    known = await _known(connected, caller, command)
    return await _answer(connected, caller, command, known=answer or known)


async def _known(connected: Connections, caller: Caller, command: _Command) -> KnownCommand:
    """The trade's state and what is known of the command; raises if there is no trade or the key is taken."""
    known = await connected.books.read(
        lambda connection: read_command(connection, command.trade_id, key=command.key, user_id=scope_of(caller))
    )
    if known is None:
        raise TradeNotFound(command.trade_id)
    if known.kind is not None and (known.kind, known.body_hash) != (command.kind, command.body_hash):
        raise CommandConflict(command.key)
    return known


async def _send(handle: _Handle, command: _Command, *, state: OrderState) -> CommandAnswer | None:
    """The workflow's answer, None if the wait is over first; the command is durable then."""
    try:
        # A first connection to a server that hangs heeds no timeout of the call itself.
        async with asyncio.timeout(_ACCEPTED_WITHIN_SECONDS):
            update: WorkflowUpdateHandle[CommandAnswer] = await handle.start_update(
                command.kind,
                command.message,
                id=f"{command.kind}-{command.key}",
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                result_type=CommandAnswer,
            )
    except WorkflowUpdateFailedError as error:
        raise _refusal(error, command.kind, state) from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise _too_late(command.kind, state) from error
        raise pipeline_unavailable() from error
    except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError, RuntimeError) as error:
        raise pipeline_unavailable() from error
    waiting = asyncio.ensure_future(update.result())
    try:
        await asyncio.wait({waiting}, timeout=command.wait_seconds)
        return waiting.result() if waiting.done() else None
    except WorkflowUpdateFailedError as error:
        raise _refusal(error, command.kind, state) from error
    except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError):
        # The server went away after it took the command, which will be carried out all the same.
        return None
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


def _refusal(error: WorkflowUpdateFailedError, kind: str, state: OrderState) -> Exception:
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type in _TOO_LATE:
        return _too_late(kind, state)
    return error


def _too_late(kind: str, state: OrderState) -> PipelineError:
    return NotUnresolved(state) if kind == "resolve" else NotCancellable(state)


async def _answer(
    connected: Connections, caller: Caller, command: _Command, *, known: KnownCommand | CommandAnswer
) -> Response:
    row = await connected.books.read(
        lambda connection: read_trade(connection, command.trade_id, user_id=scope_of(caller))
    )
    assert row is not None, "a trade that the books knew stays in them"
    answered = views.CommandAnswered(
        command=views.Command(key=command.key, kind=command.kind, outcome=known.outcome, reason=known.reason),
        trade=views.Trade.of_books(row, connected.links),
    )
    status = 202 if known.outcome is None else 200
    headers = {"Location": connected.links.trade(command.trade_id)} if status == 202 else None
    return Response(answered.model_dump_json(), status, headers, "application/json")
