"""From a request body to an intent: its checks against the books, and the hash that tells bodies apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from api.errors import FieldFault
from api.fields import BIGINT_MAX, INT_MAX, ClientId, Instant, PositiveDecimal, Slug, Symbol, as_price, body_digest
from db.intake import Account, OpenPosition
from domain.instruments import Instrument
from domain.money import Lots
from domain.orders import OrderIntent, OrderType, Side, TimeInForce

# A broker keeps a resting order until it is filled, cancelled or expired; it cannot be immediate.
_RESTING_TIMES = frozenset({TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD})

WaitMs = Annotated[
    StrictInt, Field(ge=0, le=30_000, description="How long to wait for the decision before answering 202")
]
SubmitWithinMs = Annotated[
    StrictInt, Field(ge=100, le=60_000, description="Past it the order is not sent any more, but denied")
]
SlippagePoints = Annotated[StrictInt, Field(ge=0, le=INT_MAX)]
PositionId = Annotated[StrictInt, Field(ge=1, le=BIGINT_MAX)]


class ExecuteBody(BaseModel):
    """An order. Decimals are strings; instants carry their zone."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "client_order_id": "first-1",
                    "symbol": "EURUSD",
                    "side": "buy",
                    "type": "market",
                    "volume": "0.10",
                }
            ]
        },
    )

    client_order_id: ClientId | None = None
    account: Slug | None = None
    symbol: Symbol
    side: Side
    volume: PositiveDecimal
    type: OrderType
    price: PositiveDecimal | None = None
    stop_limit_price: PositiveDecimal | None = None
    stop_loss: PositiveDecimal | None = None
    take_profit: PositiveDecimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires_at: Instant | None = None
    max_slippage_points: SlippagePoints | None = None
    submit_within_ms: SubmitWithinMs = 10_000
    position_id: PositionId | None = None
    allow_duplicate: Annotated[
        StrictBool, Field(description="Send it though it is the same as one sent just before")
    ] = False
    wait_ms: WaitMs = 2_000

    def hash(self, *, account: str) -> str:
        """The same for bodies that mean the same on `account`; waiting is not part of the meaning."""
        fields = self.model_dump(exclude={"client_order_id", "account", "wait_ms"})
        return body_digest({**fields, "account": account})


def faults(
    body: ExecuteBody, *, instrument: Instrument | None, position: OpenPosition | None, now: datetime
) -> Iterator[FieldFault]:
    """Everything wrong with the body that the books can tell before anything is written."""
    yield from _shape_faults(body, now=now)
    if instrument is None:
        yield FieldFault(field="symbol", message=f"the account has no symbol {body.symbol!r}")
    else:
        yield from _size_faults(body, instrument)
    if body.position_id is not None and body.type is not OrderType.MARKET:
        yield FieldFault(field="position_id", message="goes with market orders alone; others do not reduce it")
    elif body.position_id is not None and position is None:
        yield FieldFault(field="position_id", message="is not an open position of yours on this account")
    elif position is not None and position.symbol != body.symbol:
        yield FieldFault(field="position_id", message=f"is a position in {position.symbol}")


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Who asked, on which account, under which id, and when we got it."""

    trade_id: UUID
    user_id: UUID
    account: Account
    client_order_id: str
    body_hash: str
    received_at: datetime


def intent_of(body: ExecuteBody, receipt: Receipt) -> OrderIntent:
    return OrderIntent(
        trade_id=receipt.trade_id,
        user_id=receipt.user_id,
        account_id=receipt.account.id,
        client_order_id=receipt.client_order_id,
        body_hash=receipt.body_hash,
        symbol=body.symbol,
        side=body.side,
        order_type=body.type,
        volume=Lots(body.volume),
        time_in_force=body.time_in_force,
        received_at=receipt.received_at,
        submit_by=receipt.received_at + timedelta(milliseconds=body.submit_within_ms),
        price=as_price(body.price),
        stop_limit_price=as_price(body.stop_limit_price),
        stop_loss=as_price(body.stop_loss),
        take_profit=as_price(body.take_profit),
        expires_at=body.expires_at,
        max_slippage_points=body.max_slippage_points,
        position_id=body.position_id,
        allow_duplicate=body.allow_duplicate,
    )


def _shape_faults(body: ExecuteBody, *, now: datetime) -> Iterator[FieldFault]:
    """Fields that are missing, superfluous or in contradiction."""
    if body.type is OrderType.MARKET and body.price is not None:
        yield FieldFault(field="price", message="a market order has none; max_slippage_points bounds it")
    if body.type is not OrderType.MARKET and body.price is None:
        yield FieldFault(field="price", message=f"a {body.type} order needs one")
    if body.type is OrderType.STOP_LIMIT and body.stop_limit_price is None:
        yield FieldFault(field="stop_limit_price", message="a stop_limit order needs one")
    if body.type is not OrderType.STOP_LIMIT and body.stop_limit_price is not None:
        yield FieldFault(field="stop_limit_price", message="only a stop_limit order has one")
    if body.type is OrderType.MARKET and body.time_in_force is TimeInForce.GTD:
        yield FieldFault(field="time_in_force", message="a market order is executed at once and cannot expire")
    if body.type is not OrderType.MARKET and body.time_in_force not in _RESTING_TIMES:
        yield FieldFault(field="time_in_force", message=f"a {body.type} order is gtc, day or gtd")
    yield from _expiry_faults(body, now=now)
    yield from _stop_faults(body)


def _expiry_faults(body: ExecuteBody, *, now: datetime) -> Iterator[FieldFault]:
    gtd = body.time_in_force is TimeInForce.GTD
    if gtd and body.expires_at is None:
        yield FieldFault(field="expires_at", message="a gtd order needs one")
    if not gtd and body.expires_at is not None:
        yield FieldFault(field="expires_at", message="only a gtd order has one")
    if gtd and body.expires_at is not None and body.expires_at <= now:
        yield FieldFault(field="expires_at", message="must be in the future")


def _stop_faults(body: ExecuteBody) -> Iterator[FieldFault]:
    """Stops on the wrong side of the price; those of a market order are measured at the live quote."""
    entry = body.stop_limit_price if body.type is OrderType.STOP_LIMIT else body.price
    if body.type is OrderType.MARKET or entry is None:
        return
    above, below = ("above", "below") if body.side is Side.BUY else ("below", "above")
    if body.stop_loss is not None and (entry - body.stop_loss) * body.side.sign <= 0:
        yield FieldFault(field="stop_loss", message=f"must be {below} {entry} for a {body.side} order")
    if body.take_profit is not None and (body.take_profit - entry) * body.side.sign <= 0:
        yield FieldFault(field="take_profit", message=f"must be {above} {entry} for a {body.side} order")


def _size_faults(body: ExecuteBody, instrument: Instrument) -> Iterator[FieldFault]:
    fault = instrument.volume_fault(Lots(body.volume))
    if fault is not None:
        yield FieldFault(field="volume", message=fault)
    for name in ("price", "stop_limit_price", "stop_loss", "take_profit"):
        price = getattr(body, name)
        fault = None if price is None else instrument.price_fault(price)
        if fault is not None:
            yield FieldFault(field=name, message=fault)
