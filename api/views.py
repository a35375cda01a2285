"""Answers: a trade with everything that happened to it, and the other rows that users read."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from api.connections import Links
from api.fields import AverageText, DecimalText
from domain.orders import OrderIntent, OrderState, OrderType, Side, TimeInForce
from domain.reservations import ReservationState


class View(BaseModel):
    """A row of the books as it leaves; columns that it does not name stay inside."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Denial(View):
    """Why one gate refused; `distance` is how far `value` lies beyond `limit`, in `unit`.

    `remedy` is the smallest change that would pass this gate; `ages_ms` are the ages of the data it went by.
    """

    gate: str
    code: str
    message: str
    limit: DecimalText | None = None
    value: DecimalText | None = None
    distance: DecimalText | None = None
    unit: str | None = None
    remedy: str | None = None
    ages_ms: dict[str, int] = {}
    detail: dict[str, Any] | None = None


class Reservation(View):
    """What the trade claims of the limits, in `currency`; `counted` says whether it still does."""

    state: ReservationState
    counted: bool
    currency: str
    volume: DecimalText
    loss: DecimalText
    notional: DecimalText
    margin: DecimalText
    reference_price: DecimalText
    collar_points: int
    rates: dict[str, DecimalText]
    held_at: datetime
    resolved_at: datetime | None


class Fill(View):
    ticket: int
    revision: int
    broker_order_id: int
    position_id: int
    side: str
    entry: str
    volume: DecimalText
    price: DecimalText
    commission: DecimalText
    swap: DecimalText
    fee: DecimalText
    profit: DecimalText
    currency: str
    executed_at: datetime
    booked_at: datetime
    source: str


class Slippage(View):
    """How much worse than expected the fills are; negative is better. `money` is in the account's currency.

    `price_percent` is in percent of the expected price, `stop_percent` in percent of the distance from there to
    the stop loss, null without one.
    """

    points: DecimalText
    money: DecimalText | None
    price_percent: DecimalText | None
    stop_percent: DecimalText | None


class TradeLinks(View):
    self: str
    events: str
    temporal: str


class Trade(View):
    id: UUID
    client_order_id: str
    account: str
    currency: str | None
    user_id: UUID
    symbol: str
    side: Side
    type: OrderType
    volume: DecimalText
    time_in_force: TimeInForce
    price: DecimalText | None
    stop_limit_price: DecimalText | None
    stop_loss: DecimalText | None
    take_profit: DecimalText | None
    expires_at: datetime | None
    max_slippage_points: int | None
    position_id: int | None
    close_by_position_id: int | None
    state: OrderState
    needs_attention: bool = False
    reason: str | None = None
    denials: list[Denial] = []
    evidence: dict[str, Any] | None = None
    reservation: Reservation | None = None
    fills: list[Fill] = []
    filled_volume: DecimalText
    average_price: AverageText | None = None
    expected_price: DecimalText | None = None
    slippage: Slippage | None = None
    magic: int | None = None
    broker_order_id: int | None = None
    received_at: datetime
    submit_by: datetime
    accepted_at: datetime | None = None
    submitted_at: datetime | None = None
    decided_at: datetime | None = None
    closed_at: datetime | None = None
    updated_at: datetime | None = None
    workflow_id: str
    links: TradeLinks

    @classmethod
    def of_books(cls, row: dict[str, Any], links: Links) -> Self:
        slippage = (
            None
            if row["slippage_points"] is None
            else {name: row[f"slippage_{name}"] for name in Slippage.model_fields}
        )
        linked = _links(row["id"], row["workflow_id"], links)
        return cls.model_validate({**row, "type": row["order_type"], "slippage": slippage, "links": linked})

    @classmethod
    def of_intent(cls, intent: OrderIntent, *, account: str, workflow_id: str, links: Links) -> Self:
        """The trade before the books have it: its workflow has started and nothing else is known."""
        return cls.model_validate(
            {
                **vars(intent),
                "id": intent.trade_id,
                "type": intent.order_type,
                "account": account,
                "currency": None,
                "state": OrderState.PENDING,
                "filled_volume": 0,
                "workflow_id": workflow_id,
                "links": _links(intent.trade_id, workflow_id, links),
            }
        )


class TradePage(View):
    """`next_cursor` gives the following page; null on the last one."""

    items: list[Trade]
    next_cursor: str | None


class Event(View):
    id: int
    at: datetime
    kind: str
    payload: dict[str, Any]


class EventPage(View):
    items: list[Event]
    next_cursor: str | None


class Command(View):
    """`outcome` is done, refused or unknown; null while the broker's answer is awaited."""

    key: str
    kind: str
    outcome: str | None
    reason: str | None


class CommandAnswered(View):
    command: Command
    trade: Trade


def age_ms(instant: datetime, *, now: datetime) -> int:
    return int((now - instant).total_seconds() * 1000)


def _links(trade_id: UUID | str, workflow_id: str, links: Links) -> dict[str, str]:
    path = links.trade(UUID(str(trade_id)))
    return {"self": path, "events": f"{path}/events", "temporal": links.workflow(workflow_id)}
