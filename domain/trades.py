"""How far a trade has come: the answer of every step to the workflow that runs it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import NAMESPACE_URL, UUID, uuid5

from domain.money import Lots, Price
from domain.orders import (
    FINAL_STATES,
    OPEN_STATES,
    BrokerOrder,
    BrokerOrderState,
    OrderEvent,
    OrderState,
    fill_event,
)


@dataclass(frozen=True, kw_only=True)
class TradeProgress:
    trade_id: UUID
    body_hash: str
    state: OrderState
    magic: int
    volume: Lots
    filled_volume: Lots
    average_price: Price | None
    broker_order_id: int | None
    reason: str | None
    needs_attention: bool
    closed_at: datetime | None
    slippage_points: Decimal | None
    evidence: dict[str, str] | None

    @property
    def final(self) -> bool:
        return self.state in FINAL_STATES


_ENDED = {
    BrokerOrderState.CANCELLED: OrderEvent.CANCELLED,
    BrokerOrderState.EXPIRED: OrderEvent.EXPIRED,
    BrokerOrderState.REJECTED: OrderEvent.REJECTED,
}


def event_from_books(
    state: OrderState,
    *,
    order: BrokerOrder | None,
    filled: Lots,
    cancelled: Lots,
    booked: Lots,
    volume: Lots,
) -> OrderEvent | None:
    """What the broker's books mean to a trade in `state`; None if they say nothing new.

    `filled` lots have been booked, `booked` of them were known to the trade before. An order that the broker
    shows as filled moves the trade only by its fills: until they are booked there is nothing to account for. One
    that it shows as ended does so for as long as less is booked than it says to have executed. Of fills that the
    broker itself cancelled again, `cancelled` lots, nothing more will come.
    """
    if filled > booked:
        return fill_event(state, filled=filled, volume=volume)
    if state not in OPEN_STATES or order is None:
        return None
    ended = _ENDED.get(order.state)
    if ended is not None and not order.owes(filled + cancelled):
        # An order that was filled in part is never "rejected": the broker took it, and the rest is cancelled.
        taken = filled > 0 or state is OrderState.PARTIALLY_FILLED
        return OrderEvent.CANCELLED if taken and ended is OrderEvent.REJECTED else ended
    if order.state is BrokerOrderState.FILLED and cancelled > 0 and filled + cancelled >= volume:
        return OrderEvent.CANCELLED
    if state in {OrderState.PENDING, OrderState.UNRESOLVED}:
        return OrderEvent.PLACED
    return None


def workflow_id(user_id: UUID, client_order_id: str) -> str:
    """The id of the workflow that carries the trade."""
    return f"trade-{user_id}-{client_order_id}"


def trade_id(user_id: UUID, client_order_id: str) -> UUID:
    """The id of the trade, known before anything is stored: the same order always has the same one."""
    return uuid5(NAMESPACE_URL, workflow_id(user_id, client_order_id))
