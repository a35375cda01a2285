"""Orders in: execute."""

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from api import views
from api.dependencies import ConnectionsDep, IdempotencyKeyHeader, PrincipalDep, one_key
from api.errors import invalid
from api.intents import ExecuteBody, Receipt, faults, intent_of
from api.placing import ANSWERS, IncomingOrder, place
from db.intake import Intake, IntakeQuestion
from domain.orders import OrderIntent
from domain.trades import trade_id

router = APIRouter(prefix="/api/trading", tags=["trading"])


@router.post("/execute", status_code=201, response_model=views.Trade, responses=ANSWERS)
async def execute(
    body: ExecuteBody, connected: ConnectionsDep, who: PrincipalDep, idempotency_key: IdempotencyKeyHeader = None
) -> Response:
    """Send an order and wait for its decision. The same id again returns the first trade, for ever."""
    key = one_key(body.client_order_id, idempotency_key)
    now = datetime.now(UTC)

    def intent_from(intake: Intake, receipt: Receipt) -> OrderIntent:
        found = list(faults(body, instrument=intake.instrument, position=intake.position, now=now))
        if found:
            raise invalid(found)
        return intent_of(body, receipt)

    order = IncomingOrder(
        who=who,
        key=key,
        question=IntakeQuestion(
            user_id=who.user_id,
            credential=who.credential,
            trade_id=trade_id(who.user_id, key),
            account=body.account,
            symbol=body.symbol,
            position_id=body.position_id,
        ),
        wait_seconds=body.wait_ms / 1000,
        received_at=now,
        hash_on=lambda account: body.hash(account=account),
        intent_from=intent_from,
    )
    return await place(connected, order)
