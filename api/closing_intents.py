"""From the body of a close to an intent: at the market, or by an opposite position."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from api.errors import FieldFault
from api.fields import ClientId, PositiveDecimal, Slug, body_digest
from api.intents import ExecuteBody, PositionId, Receipt, SlippagePoints, SubmitWithinMs, WaitMs
from db.intake import Account, OpenPosition
from domain.instruments import Instrument
from domain.money import Lots
from domain.orders import OrderIntent, OrderType, TimeInForce
from domain.positions import MarginMode


class CloseBody(BaseModel):
    """A close at the market; of the whole position unless `volume` says less."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"client_order_id": "close-1"}]}
    )

    client_order_id: ClientId | None = None
    account: Slug | None = None
    volume: PositiveDecimal | None = None
    max_slippage_points: SlippagePoints | None = None
    submit_within_ms: SubmitWithinMs = 10_000
    wait_ms: WaitMs = 2_000

    def hash(self, *, account: str, position_id: int) -> str:
        """Of what was asked, not of the position as it was: the first close may have ended it."""
        fields = self.model_dump(exclude={"client_order_id", "account", "wait_ms"})
        return body_digest({**fields, "account": account, "close": position_id})


class CloseByBody(BaseModel):
    """A close by the opposite position `by_position_id`: of the lots that both have in common."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"client_order_id": "close-by-1", "by_position_id": 5000002}]},
    )

    client_order_id: ClientId | None = None
    account: Slug | None = None
    by_position_id: PositionId
    submit_within_ms: SubmitWithinMs = 10_000
    wait_ms: WaitMs = 2_000

    def hash(self, *, account: str, position_id: int) -> str:
        """Of what was asked, not of the positions as they were: the first close may have ended both."""
        fields = self.model_dump(exclude={"client_order_id", "account", "wait_ms"})
        return body_digest({**fields, "account": account, "close": position_id})


class ReverseBody(BaseModel):
    """A close of the whole position, then an order of the other side, of the same lots unless `volume` says else.

    `submit_within_ms` bounds both orders: what has not been sent by then is not sent any more.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"client_order_id": "reverse-1"}]}
    )

    client_order_id: ClientId | None = None
    account: Slug | None = None
    volume: PositiveDecimal | None = None
    stop_loss: PositiveDecimal | None = None
    take_profit: PositiveDecimal | None = None
    max_slippage_points: SlippagePoints | None = None
    submit_within_ms: SubmitWithinMs = 10_000
    wait_ms: WaitMs = 2_000

    def hash(self, *, account: str, position_id: int, part: Literal["closing", "opening"]) -> str:
        """Of what was asked, told apart for the two trades, so that neither is taken for the other."""
        fields = self.model_dump(exclude={"client_order_id", "account", "wait_ms"})
        return body_digest({**fields, "account": account, "reverse": position_id, "part": part})

    def closing(self) -> CloseBody:
        return CloseBody(max_slippage_points=self.max_slippage_points, submit_within_ms=self.submit_within_ms)

    def opening(self, position: OpenPosition) -> ExecuteBody:
        """The order of the other side, at the market."""
        return ExecuteBody.model_construct(
            symbol=position.symbol,
            side=position.side.opposite,
            volume=self.volume or position.volume,
            type=OrderType.MARKET,
            stop_loss=self.stop_loss,
            take_profit=self.take_profit,
            max_slippage_points=self.max_slippage_points,
            submit_within_ms=self.submit_within_ms,
        )


def close_faults(
    body: CloseBody, *, instrument: Instrument | None, position: OpenPosition
) -> Iterator[FieldFault]:
    volume = Lots(body.volume or position.volume)
    fault = None if instrument is None else instrument.volume_fault(volume)
    if fault is not None:
        yield FieldFault(field="volume", message=fault)
    elif volume > position.volume:
        yield FieldFault(field="volume", message=f"must be at most {position.volume} lots, all of the position")


def close_by_faults(
    account: Account, instrument: Instrument | None, *, position: OpenPosition, by_position: OpenPosition
) -> Iterator[FieldFault]:
    if account.margin_mode is not MarginMode.HEDGING:
        yield FieldFault(
            field="account", message=f"is a {account.margin_mode} account, where no position can close another"
        )
        return
    if not (position.opened_by_user and by_position.opened_by_user):
        yield FieldFault(field="by_position_id", message="both positions must have been opened by orders of yours")
    if position.symbol != by_position.symbol:
        yield FieldFault(
            field="by_position_id",
            message=f"is a position in {by_position.symbol}, the one to close is in {position.symbol}",
        )
    elif position.side is by_position.side:
        yield FieldFault(field="by_position_id", message=f"is on the same side: both are {position.side}")
    elif instrument is not None and not instrument.close_by:
        yield FieldFault(
            field="by_position_id", message=f"the broker closes no position in {position.symbol} by another one"
        )


def closing_body(body: CloseBody, *, position_id: int, position: OpenPosition) -> ExecuteBody:
    """The order that closes: at the market, against the position, of all of it unless the body says less."""
    return ExecuteBody.model_construct(
        symbol=position.symbol,
        side=position.side.opposite,
        volume=body.volume or position.volume,
        type=OrderType.MARKET,
        max_slippage_points=body.max_slippage_points,
        submit_within_ms=body.submit_within_ms,
        position_id=position_id,
    )


def close_by_intent(
    body: CloseByBody, receipt: Receipt, *, position_id: int, position: OpenPosition, by_position: OpenPosition
) -> OrderIntent:
    return OrderIntent(
        trade_id=receipt.trade_id,
        user_id=receipt.user_id,
        account_id=receipt.account.id,
        client_order_id=receipt.client_order_id,
        body_hash=receipt.body_hash,
        symbol=position.symbol,
        side=position.side.opposite,
        order_type=OrderType.MARKET,
        volume=min(position.volume, by_position.volume),
        time_in_force=TimeInForce.GTC,
        received_at=receipt.received_at,
        submit_by=receipt.received_at + timedelta(milliseconds=body.submit_within_ms),
        position_id=position_id,
        close_by_position_id=body.by_position_id,
    )
