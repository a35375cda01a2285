"""From an order on its way in to the answer: one read before the workflow, one after it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi import Response

from api import views
from api.callers import Principal
from api.connections import Connections
from api.dependencies import check_right, shut_out
from api.errors import FieldFault, invalid, trade_forgotten
from api.intents import Receipt
from api.starts import join_and_wait, start_and_wait
from db.intake import Account, Intake, IntakeQuestion, read_intake
from db.trade_views import read_trade
from domain.errors import IntentConflict, PositionNotFound
from domain.orders import OrderIntent, OrderState
from domain.trades import workflow_id
from workflows.trade_messages import TradeInput

ANSWERS: dict[int | str, dict[str, object]] = {
    201: {"model": views.Trade, "description": "Decided; `Idempotent-Replay: true` marks the answer to a repeat"},
    202: {"model": views.Trade, "description": "Accepted; `wait_ms` passed before the decision. See `Location`"},
}


@dataclass(frozen=True, kw_only=True)
class IncomingOrder:
    """One order on its way in: its id, and how to tell and make its intent once the account is known."""

    who: Principal
    key: str
    question: IntakeQuestion
    wait_seconds: float
    received_at: datetime
    hash_on: Callable[[str], str]
    intent_from: Callable[[Intake, Receipt], OrderIntent]


async def place(connected: Connections, order: IncomingOrder) -> Response:
    question = order.question
    intake = await admit(connected, order.who, question)
    known = intake.known
    if known is not None:
        # The first trade answers, however its account or position look by now.
        if known.body_hash != order.hash_on(question.account or known.account_slug):
            raise IntentConflict(order.key)
        if known.state is OrderState.PENDING:
            await join_and_wait(connected.temporal, known.workflow_id, wait_seconds=order.wait_seconds)
        return await _answer(connected, order, body_hash=known.body_hash, fallback=None)
    account = account_of(intake, question)
    receipt = Receipt(
        trade_id=question.trade_id,
        user_id=question.user_id,
        account=account,
        client_order_id=order.key,
        body_hash=order.hash_on(account.slug),
        received_at=order.received_at,
    )
    intent = order.intent_from(intake, receipt)
    trade = TradeInput(intent=intent, account_slug=account.slug)
    decided = await start_and_wait(connected.temporal, trade, wait_seconds=order.wait_seconds)
    fallback = None if decided else trade
    return await _answer(connected, order, body_hash=receipt.body_hash, fallback=fallback)


async def admit(connected: Connections, who: Principal, question: IntakeQuestion) -> Intake:
    """What the books know of the question, if whoever asks has the right of the route."""
    intake = await connected.books.read(lambda connection: read_intake(connection, question))
    if intake is None or not intake.let_in:
        raise shut_out(who)
    check_right(who, intake.role)
    return intake


def account_of(intake: Intake, question: IntakeQuestion) -> Account:
    if intake.account is not None:
        return intake.account
    if intake.account_count > 1:
        raise invalid([FieldFault(field="account", message="you have several accounts; name one")])
    if question.symbol is None and question.position_id is not None:
        raise PositionNotFound(question.position_id)
    message = "you have no account" if question.account is None else f"you have no account {question.account!r}"
    raise invalid([FieldFault(field="account", message=message)])


async def _answer(
    connected: Connections, order: IncomingOrder, *, body_hash: str, fallback: TradeInput | None
) -> Response:
    """The trade as the books have it now; as it was asked for, while they do not have it yet."""
    user_id, wanted = order.question.user_id, order.question.trade_id
    row = await connected.books.read(lambda connection: read_trade(connection, wanted, user_id=user_id))
    headers = {"Location": connected.links.trade(wanted)}
    if row is None:
        if fallback is None:
            raise trade_forgotten(wanted)
        view = views.Trade.of_intent(
            fallback.intent,
            account=fallback.account_slug,
            workflow_id=workflow_id(user_id, order.key),
            links=connected.links,
        )
        return _json(view, status=202, headers=headers)
    if row["body_hash"] != body_hash:
        raise IntentConflict(order.key)
    view = views.Trade.of_books(row, connected.links)
    if view.received_at != order.received_at:
        headers["Idempotent-Replay"] = "true"
    return _json(view, status=202 if view.state is OrderState.PENDING else 201, headers=headers)


def _json(view: views.Trade, *, status: int, headers: dict[str, str]) -> Response:
    return Response(view.model_dump_json(), status, headers, "application/json")
