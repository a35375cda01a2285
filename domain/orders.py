"""Orders and the life of a trade.

1. A trade changes state only by `next_state`; the database trigger and the README diagram repeat its table.
2. A final state is left only by a late fill, a transition of its own that raises an alert.
3. Whether an order was accepted is one of four outcomes; silence is `Unresolved`, never `Rejected`.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from domain.contracts import Contract
from domain.errors import IllegalTransition
from domain.exchanges import Exchanged
from domain.fills import Fill
from domain.money import Lots, Price


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class TimeInForce(StrEnum):
    GTC = "gtc"
    DAY = "day"
    GTD = "gtd"
    IOC = "ioc"
    FOK = "fok"


class OrderState(StrEnum):
    PENDING = "pending"
    WORKING = "working"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    DENIED = "denied"
    UNRESOLVED = "unresolved"


class OrderEvent(StrEnum):
    PLACED = "placed"
    FILLED_IN_PART = "filled_in_part"
    FILLED_IN_FULL = "filled_in_full"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    DENIED = "denied"
    OUTCOME_LOST = "outcome_lost"
    LATE_FILL_IN_PART = "late_fill_in_part"
    LATE_FILL_IN_FULL = "late_fill_in_full"


TRANSITIONS: dict[OrderState, dict[OrderEvent, OrderState]] = {
    OrderState.PENDING: {
        OrderEvent.PLACED: OrderState.WORKING,
        OrderEvent.FILLED_IN_PART: OrderState.PARTIALLY_FILLED,
        OrderEvent.FILLED_IN_FULL: OrderState.FILLED,
        OrderEvent.CANCELLED: OrderState.CANCELLED,
        OrderEvent.EXPIRED: OrderState.EXPIRED,
        OrderEvent.REJECTED: OrderState.REJECTED,
        OrderEvent.DENIED: OrderState.DENIED,
        OrderEvent.OUTCOME_LOST: OrderState.UNRESOLVED,
    },
    OrderState.WORKING: {
        OrderEvent.FILLED_IN_PART: OrderState.PARTIALLY_FILLED,
        OrderEvent.FILLED_IN_FULL: OrderState.FILLED,
        OrderEvent.CANCELLED: OrderState.CANCELLED,
        OrderEvent.EXPIRED: OrderState.EXPIRED,
        OrderEvent.REJECTED: OrderState.REJECTED,
    },
    OrderState.PARTIALLY_FILLED: {
        OrderEvent.FILLED_IN_PART: OrderState.PARTIALLY_FILLED,
        OrderEvent.FILLED_IN_FULL: OrderState.FILLED,
        OrderEvent.CANCELLED: OrderState.CANCELLED,
        OrderEvent.EXPIRED: OrderState.EXPIRED,
    },
    OrderState.UNRESOLVED: {
        OrderEvent.PLACED: OrderState.WORKING,
        OrderEvent.FILLED_IN_PART: OrderState.PARTIALLY_FILLED,
        OrderEvent.FILLED_IN_FULL: OrderState.FILLED,
        OrderEvent.CANCELLED: OrderState.CANCELLED,
        OrderEvent.EXPIRED: OrderState.EXPIRED,
        OrderEvent.REJECTED: OrderState.REJECTED,
    },
    # The broker may fill after it acknowledged a cancel, so no final state refuses a fill.
    # A busted fill may be replaced by a smaller one; what is filled then is in the books, not in the state.
    OrderState.FILLED: {
        OrderEvent.LATE_FILL_IN_PART: OrderState.FILLED,
        OrderEvent.LATE_FILL_IN_FULL: OrderState.FILLED,
    },
    OrderState.CANCELLED: {
        OrderEvent.LATE_FILL_IN_PART: OrderState.CANCELLED,
        OrderEvent.LATE_FILL_IN_FULL: OrderState.FILLED,
    },
    OrderState.EXPIRED: {
        OrderEvent.LATE_FILL_IN_PART: OrderState.EXPIRED,
        OrderEvent.LATE_FILL_IN_FULL: OrderState.FILLED,
    },
    OrderState.REJECTED: {
        OrderEvent.LATE_FILL_IN_PART: OrderState.CANCELLED,
        OrderEvent.LATE_FILL_IN_FULL: OrderState.FILLED,
    },
    OrderState.DENIED: {
        OrderEvent.LATE_FILL_IN_PART: OrderState.CANCELLED,
        OrderEvent.LATE_FILL_IN_FULL: OrderState.FILLED,
    },
}

LATE_FILLS = frozenset({OrderEvent.LATE_FILL_IN_PART, OrderEvent.LATE_FILL_IN_FULL})
FINAL_STATES = frozenset(state for state, moves in TRANSITIONS.items() if LATE_FILLS.issuperset(moves))
OPEN_STATES = frozenset(OrderState) - FINAL_STATES


def next_state(state: OrderState, event: OrderEvent) -> OrderState:
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def fill_event(state: OrderState, *, filled: Lots, volume: Lots) -> OrderEvent:
    """The event that a fill means to a trade in `state`, once `filled` of `volume` lots are booked."""
    if state in FINAL_STATES:
        return OrderEvent.LATE_FILL_IN_FULL if filled >= volume else OrderEvent.LATE_FILL_IN_PART
    return OrderEvent.FILLED_IN_FULL if filled >= volume else OrderEvent.FILLED_IN_PART


@dataclass(frozen=True, kw_only=True)
class OrderIntent:
    """What a user asked for. `submit_by` is fixed on receipt: past it the order may no longer be sent."""

    trade_id: UUID
    user_id: UUID
    account_id: UUID
    client_order_id: str
    body_hash: str
    symbol: str
    side: Side
    order_type: OrderType
    volume: Lots
    time_in_force: TimeInForce
    received_at: datetime
    submit_by: datetime
    price: Price | None = None
    stop_limit_price: Price | None = None
    stop_loss: Price | None = None
    take_profit: Price | None = None
    expires_at: datetime | None = None
    max_slippage_points: int | None = None
    position_id: int | None = None
    # The opposite position that closes this one, lots against lots, without going to the market.
    close_by_position_id: int | None = None
    # The user means it, though it is the same as one sent just before.
    allow_duplicate: bool = False
    # The stop on whose behalf a position is closed; such closes, and they alone, pass every stop.
    stop_id: UUID | None = None

    @property
    def reducing(self) -> bool:
        """Only a market order that names its position reduces it: brokers ignore the position of a resting one.

        Whether it fits the position is checked under the lock.
        """
        return self.position_id is not None and self.order_type is OrderType.MARKET

    @property
    def stopping(self) -> bool:
        return self.stop_id is not None and self.reducing

    @property
    def meets_market(self) -> bool:
        """Whether it is executed at once at the market's price; a close by another position has that one's."""
        return self.order_type is OrderType.MARKET and self.close_by_position_id is None

    def __str__(self) -> str:
        at = "market" if self.order_type is OrderType.MARKET else f"{self.order_type} {self.price}"
        closing = f" closing {self.position_id}" if self.reducing else ""
        by = f" by {self.close_by_position_id}" if self.close_by_position_id is not None else ""
        return f"{self.side.upper()} {self.volume} {self.symbol} @ {at}{closing}{by}"


class BrokerOrderState(StrEnum):
    """What the broker's own books say of an order."""

    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class BrokerOrder:
    """`side` is None for an order that closes one position by another: it joins the two and has none."""

    broker_order_id: int
    magic: int
    symbol: str
    side: Side | None
    state: BrokerOrderState
    volume: Lots
    remaining: Lots
    price: Price
    stop_loss: Price | None
    take_profit: Price | None
    position_id: int | None
    placed_at: datetime
    done_at: datetime | None

    def owes(self, booked: Decimal) -> bool:
        """Whether the broker has executed more of it than the `booked` lots: then its deals are still to come."""
        return self.volume - self.remaining > booked


@dataclass(frozen=True, kw_only=True)
class Quote:
    """Best bid and ask; `at` is the broker's instant, `read_at` ours."""

    symbol: str
    bid: Price
    ask: Price
    at: datetime
    read_at: datetime

    def to_open(self, side: Side) -> Price:
        return self.ask if side is Side.BUY else self.bid

    def to_close(self, side: Side) -> Price:
        return self.bid if side is Side.BUY else self.ask


@dataclass(frozen=True, kw_only=True)
class Accepted(Exchanged):
    """The broker owns the order. `order` is None while its books do not show it yet."""

    broker_order_id: int
    order: BrokerOrder | None
    fills: tuple[Fill, ...]
    quote: Quote | None
    retcode: int | None


@dataclass(frozen=True, kw_only=True)
class Rejected(Exchanged):
    """The broker proved that it did not execute; `repeatable` if only the price had moved meanwhile."""

    reason: str
    retcode: int | None
    repeatable: bool = False


@dataclass(frozen=True, kw_only=True)
class Unresolved(Exchanged):
    """Nobody knows yet. `sender_ended_at` is when the process that sent was proven dead, None if it is not."""

    reason: str
    retcode: int | None
    sender_ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class NotSent(Exchanged):
    """Nothing left us: a check just before the send refused, and the numbers say why."""

    reason: str
    detail: dict[str, str]


SubmitOutcome = Accepted | Rejected | Unresolved | NotSent


@dataclass(frozen=True, kw_only=True)
class OrderRequest:
    """An order as the sender gets it: the claim's magic, and the bounds of the check just before the send.

    `reference_price` is the price the reservation was made at; the live price may be worse by at most
    `collar_points`. `since` bounds the search for an earlier send under the same magic.
    """

    magic: int
    symbol: str
    side: Side
    order_type: OrderType
    volume: Lots
    time_in_force: TimeInForce
    price: Price | None
    stop_limit_price: Price | None
    stop_loss: Price | None
    take_profit: Price | None
    expires_at: datetime | None
    position_id: int | None
    reference_price: Price
    collar_points: int
    since: datetime
    submit_by: datetime
    comment: str
    # The contract that the reservation was sized by; None for one that was made before contracts were kept.
    contract: Contract | None = None
    close_by_position_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Changes:
    """New levels of a working order or of a position; None keeps the level, zero removes it."""

    price: Price | None = None
    stop_limit_price: Price | None = None
    stop_loss: Price | None = None
    take_profit: Price | None = None
    expires_at: datetime | None = None
