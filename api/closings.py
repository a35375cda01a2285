"""Positions out: closed at the market, or by an opposite one."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response

from api import views
from api.closing_intents import (
    CloseBody,
    CloseByBody,
    close_by_faults,
    close_by_intent,
    close_faults,
    closing_body,
)
from api.dependencies import ConnectionsDep, IdempotencyKeyHeader, PrincipalDep, one_key
from api.errors import FieldFault, invalid
from api.fields import BIGINT_MAX
from api.intents import Receipt, intent_of
from api.placing import ANSWERS, IncomingOrder, place
from db.intake import Intake, IntakeQuestion
from domain.errors import PositionNotFound
from domain.orders import OrderIntent
from domain.trades import trade_id

router = APIRouter(prefix="/api/trading", tags=["trading"])

PositionPath = Annotated[int, Path(ge=1, le=BIGINT_MAX)]


@router.post("/positions/{position_id}/close", status_code=201, response_model=views.Trade, responses=ANSWERS)
async def close_position(
    position_id: PositionPath,
    body: CloseBody,
    connected: ConnectionsDep,
    who: PrincipalDep,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Close a position at the market, or a part of it. The answer is that of execute.

    While a stop halts trading, the roles risk and admin may still close; the order carries the id of that stop.
    """
    key = one_key(body.client_order_id, idempotency_key)

    def intent_from(intake: Intake, receipt: Receipt) -> OrderIntent:
        if intake.position is None:
            raise PositionNotFound(position_id)
        found = list(close_faults(body, instrument=intake.instrument, position=intake.position))
        if found:
            raise invalid(found)
        intent = intent_of(closing_body(body, position_id=position_id, position=intake.position), receipt)
        return replace(intent, stop_id=intake.stop_id) if intake.role.sees_all else intent

    order = IncomingOrder(
        who=who,
        key=key,
        question=IntakeQuestion(
            user_id=who.user_id,
            credential=who.credential,
            trade_id=trade_id(who.user_id, key),
            account=body.account,
            symbol=None,
            position_id=position_id,
        ),
        wait_seconds=body.wait_ms / 1000,
        received_at=datetime.now(UTC),
        hash_on=lambda account: body.hash(account=account, position_id=position_id),
        intent_from=intent_from,
    )
    return await place(connected, order)


@router.post("/positions/{position_id}/close-by", status_code=201, response_model=views.Trade, responses=ANSWERS)
async def close_position_by(
    position_id: PositionPath,
    body: CloseByBody,
    connected: ConnectionsDep,
    who: PrincipalDep,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Close a position by an opposite one of yours in the same symbol, without going to the market.

    The broker closes the lots that both have in common, each at the price at which the other was opened; what the
    larger one has more stays open. Only hedging accounts keep two opposite positions. The answer is that of
    execute; its fills are two, one on each position, and `filled_volume` counts the lots once.
    """
    key = one_key(body.client_order_id, idempotency_key)

    def intent_from(intake: Intake, receipt: Receipt) -> OrderIntent:
        if intake.position is None:
            raise PositionNotFound(position_id)
        if intake.by_position is None:
            raise PositionNotFound(body.by_position_id)
        found = list(
            close_by_faults(
                receipt.account,
                intake.instrument,
                position=intake.position,
                by_position=intake.by_position,
            )
        )
        if found:
            raise invalid(found)
        return close_by_intent(
            body, receipt, position_id=position_id, position=intake.position, by_position=intake.by_position
        )

    if body.by_position_id == position_id:
        raise invalid([FieldFault(field="by_position_id", message="is the position itself")])
    order = IncomingOrder(
        who=who,
        key=key,
        question=IntakeQuestion(
            user_id=who.user_id,
            credential=who.credential,
            trade_id=trade_id(who.user_id, key),
            account=body.account,
            symbol=None,
            position_id=position_id,
            by_position_id=body.by_position_id,
        ),
        wait_seconds=body.wait_ms / 1000,
        received_at=datetime.now(UTC),
        hash_on=lambda account: body.hash(account=account, position_id=position_id),
        intent_from=intent_from,
    )
    return await place(connected, order)
