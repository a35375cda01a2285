"""A position reversed: two trades, one after the other, behind one workflow."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from api import views
from api.closing_intents import ReverseBody, close_faults, closing_body
from api.closings import PositionPath
from api.connections import Connections
from api.dependencies import ConnectionsDep, IdempotencyKeyHeader, PrincipalDep, one_key
from api.errors import FieldFault, invalid
from api.intents import Receipt, faults, intent_of
from api.placing import account_of, admit
from api.starts import join_and_wait, start_and_wait
from api.views import View
from db.intake import Intake, IntakeQuestion
from db.trade_views import read_trade
from domain.errors import IntentConflict, PositionNotFound
from domain.orders import OrderState
from domain.reversals import OPENING_ID_TAKEN, ReversalState, Standing, standing
from domain.trades import trade_id, workflow_id
from workflows.reversal_messages import ReversalInput, opening_order_id, reversal_id
from workflows.trade_messages import TradeInput

router = APIRouter(prefix="/api/trading", tags=["trading"])

_KEY_MAX = 64 - len(opening_order_id(""))


class Reversal(View):
    """Both trades. `state` is `done` once the opening order is decided, and its own state says how.

    `reason` says why nothing is opened: `close_` and the state in which the close ended, `deadline_passed`, or
    `opening_id_taken` by another order that came first.
    """

    state: ReversalState
    reason: str | None
    closing: views.Trade
    opening: views.Trade | None


_ANSWERS: dict[int | str, dict[str, object]] = {
    201: {"model": Reversal, "description": "Decided; `Idempotent-Replay: true` marks the answer to a repeat"},
    202: {
        "model": Reversal,
        "description": "Accepted; `wait_ms` passed before the decision. Ask again, or see `Location`",
    },
}


@dataclass(frozen=True, kw_only=True)
class _Hashes:
    closing: str
    opening: str


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One reversal on its way in."""

    key: str
    body: ReverseBody
    question: IntakeQuestion
    position_id: int
    received_at: datetime
    wait_until: float

    @property
    def opening_key(self) -> str:
        return opening_order_id(self.key)

    @property
    def trade_ids(self) -> tuple[UUID, UUID]:
        """Of the closing trade and the opening one."""
        return self.question.trade_id, trade_id(self.question.user_id, self.opening_key)

    @property
    def open_by(self) -> datetime:
        return self.received_at + timedelta(milliseconds=self.body.submit_within_ms)

    def hashes(self, account: str) -> "_Hashes":
        hash_of = partial(self.body.hash, account=account, position_id=self.position_id)
        return _Hashes(closing=hash_of(part="closing"), opening=hash_of(part="opening"))

    @property
    def wait_seconds(self) -> float:
        return max(0.0, self.wait_until - asyncio.get_running_loop().time())


@router.post("/positions/{position_id}/reverse", status_code=201, response_model=Reversal, responses=_ANSWERS)
async def reverse_position(
    position_id: PositionPath,
    body: ReverseBody,
    connected: ConnectionsDep,
    who: PrincipalDep,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Close a position in full and, once that is filled, open one of the other side.

    Two trades: the close under the given id, the opening order under that id with `.open` behind it, through all
    gates. If the close ends otherwise than filled in full, or the deadline passes before, nothing is opened, and
    the answer says so. The same id and body again gives the same pair.
    """
    key = one_key(body.client_order_id, idempotency_key)
    if len(key) > _KEY_MAX:
        message = f"must be at most {_KEY_MAX} characters here: the opening order is named for it"
        raise invalid([FieldFault(field="client_order_id", message=message)])
    asked = _Asked(
        key=key,
        body=body,
        question=IntakeQuestion(
            user_id=who.user_id,
            credential=who.credential,
            trade_id=trade_id(who.user_id, key),
            account=body.account,
            symbol=None,
            position_id=position_id,
        ),
        position_id=position_id,
        received_at=datetime.now(UTC),
        wait_until=asyncio.get_running_loop().time() + body.wait_ms / 1000,
    )
    intake = await admit(connected, who, asked.question)
    if intake.known is None:
        reversal = _reversal(intake, asked)
        hashes = asked.hashes(reversal.closing.account_slug)
        # Before anything is closed: the opening order may not find its id taken.
        if (await _read(connected, asked, hashes)).standing.reason == OPENING_ID_TAKEN:
            raise IntentConflict(asked.opening_key)
        await start_and_wait(connected.temporal, reversal, wait_seconds=asked.wait_seconds)
        return await _decided(connected, asked, hashes, fallback=reversal)
    # The first pair answers, however its account or position look by now.
    hashes = asked.hashes(body.account or intake.known.account_slug)
    return await _decided(connected, asked, hashes, fallback=None)


def _reversal(intake: Intake, asked: _Asked) -> ReversalInput:
    """The two orders, if the books have nothing against them."""
    account, position = account_of(intake, asked.question), intake.position
    if position is None:
        raise PositionNotFound(asked.position_id)
    closing, opening = asked.body.closing(), asked.body.opening(position)
    found = [
        *close_faults(closing, instrument=intake.instrument, position=position),
        *faults(opening, instrument=intake.instrument, position=None, now=asked.received_at),
    ]
    if found:
        raise invalid(found)
    hashes = asked.hashes(account.slug)
    receipt = Receipt(
        trade_id=asked.question.trade_id,
        user_id=asked.question.user_id,
        account=account,
        client_order_id=asked.key,
        body_hash=hashes.closing,
        received_at=asked.received_at,
    )
    behind = replace(
        receipt, trade_id=asked.trade_ids[1], client_order_id=asked.opening_key, body_hash=hashes.opening
    )
    close_order = closing_body(closing, position_id=asked.position_id, position=position)
    return ReversalInput(
        closing=TradeInput(intent=intent_of(close_order, receipt), account_slug=account.slug),
        opening=TradeInput(intent=intent_of(opening, behind), account_slug=account.slug),
    )


async def _decided(
    connected: Connections, asked: _Asked, hashes: _Hashes, *, fallback: ReversalInput | None
) -> Response:
    """The pair as the books have it, after waiting, while there is time, for what is not decided yet."""
    user_id = asked.question.user_id
    known = await _read(connected, asked, hashes)
    if not known.standing.decided:
        await join_and_wait(connected.temporal, reversal_id(user_id, asked.key), wait_seconds=asked.wait_seconds)
        opening_id = workflow_id(user_id, asked.opening_key)
        await join_and_wait(connected.temporal, opening_id, wait_seconds=asked.wait_seconds)
        known = await _read(connected, asked, hashes)
    return known.answer(connected, asked, fallback=fallback)


@dataclass(frozen=True, kw_only=True)
class _Known:
    closing: dict[str, Any] | None
    opening: dict[str, Any] | None
    standing: Standing

    def answer(self, connected: Connections, asked: _Asked, *, fallback: ReversalInput | None) -> Response:
        links = connected.links
        if self.closing is not None:
            closing = views.Trade.of_books(self.closing, links)
        else:
            assert fallback is not None, "a close that was decided is in the books, and stays there"
            closing = views.Trade.of_intent(
                fallback.closing.intent,
                account=fallback.closing.account_slug,
                workflow_id=workflow_id(asked.question.user_id, asked.key),
                links=links,
            )
        view = Reversal(
            state=self.standing.state,
            reason=self.standing.reason,
            closing=closing,
            opening=None if self.opening is None else views.Trade.of_books(self.opening, links),
        )
        headers = {"Location": links.trade(asked.question.trade_id)}
        if closing.received_at != asked.received_at:
            headers["Idempotent-Replay"] = "true"
        status = 201 if self.standing.decided else 202
        return Response(view.model_dump_json(), status, headers, "application/json")


async def _read(connected: Connections, asked: _Asked, hashes: _Hashes) -> _Known:
    """Both trades; raises IntentConflict if the id belongs to something else."""
    closing, opening = [await _trade(connected, asked, wanted) for wanted in asked.trade_ids]
    if closing is not None and closing["body_hash"] != hashes.closing:
        raise IntentConflict(asked.key)
    if opening is not None and opening["body_hash"] != hashes.opening:
        taken = Standing(state=ReversalState.NOT_OPENED, reason=OPENING_ID_TAKEN)
        return _Known(closing=closing, opening=None, standing=taken)
    return _Known(
        closing=closing,
        opening=opening,
        standing=standing(
            close=None if closing is None else OrderState(closing["state"]),
            opening=None if opening is None else OrderState(opening["state"]),
            now=datetime.now(UTC),
            open_by=asked.open_by if closing is None else datetime.fromisoformat(closing["submit_by"]),
        ),
    )


async def _trade(connected: Connections, asked: _Asked, wanted: UUID) -> dict[str, Any] | None:
    user_id = asked.question.user_id
    return await connected.books.read(lambda connection: read_trade(connection, wanted, user_id=user_id))
