"""Orders, deals and positions as the broker keeps them; times in server milliseconds, amounts exact."""

from dataclasses import dataclass
from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.market import Side

ZERO = Decimal(0)
BUY_TYPES = frozenset(
    {mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_BUY_STOP, mt5.ORDER_TYPE_BUY_STOP_LIMIT}
)
MARKET_TYPES = frozenset({mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL})
LIMIT_TYPES = frozenset({mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_SELL_LIMIT})
STOP_TYPES = frozenset({mt5.ORDER_TYPE_BUY_STOP, mt5.ORDER_TYPE_SELL_STOP})
STOP_LIMIT_TYPES = frozenset({mt5.ORDER_TYPE_BUY_STOP_LIMIT, mt5.ORDER_TYPE_SELL_STOP_LIMIT})
PENDING_TYPES = LIMIT_TYPES | STOP_TYPES | STOP_LIMIT_TYPES


def side_of(order_type: int) -> Side:
    return Side.BUY if order_type in BUY_TYPES else Side.SELL


def market_type(side: Side) -> int:
    return mt5.ORDER_TYPE_BUY if side is Side.BUY else mt5.ORDER_TYPE_SELL


@dataclass(kw_only=True, slots=True)
class Order:
    """`rest` is still unfilled; `closes` is the position ticket a close was sent for, else 0."""

    ticket: int
    symbol: str
    type: int
    state: int
    lots: Decimal
    rest: Decimal
    price: Decimal
    setup_msc: int
    stoplimit: Decimal = ZERO
    sl: Decimal = ZERO
    tp: Decimal = ZERO
    magic: int = 0
    comment: str = ""
    filling: int = mt5.ORDER_FILLING_FOK
    type_time: int = mt5.ORDER_TIME_GTC
    expiration: int = 0
    reason: int = mt5.ORDER_REASON_EXPERT
    closes: int = 0
    position_id: int = 0
    position_by_id: int = 0
    done_msc: int = 0
    # Fills that the broker has promised for later: JSON list of [UTC msc, lots as text]; then this is its end.
    plan: str = "[]"
    plan_end: int = mt5.ORDER_STATE_CANCELED
    # What the broker does to its records later: JSON list of faults.
    aftermath: str = "[]"

    @property
    def side(self) -> Side:
        return side_of(self.type)

    @property
    def filled(self) -> Decimal:
        return self.lots - self.rest


@dataclass(kw_only=True, slots=True)
class Deal:
    ticket: int
    order_ticket: int
    symbol: str
    type: int
    entry: int
    position_id: int
    reason: int
    time_msc: int
    magic: int = 0
    lots: Decimal = ZERO
    price: Decimal = ZERO
    commission: Decimal = ZERO
    swap: Decimal = ZERO
    profit: Decimal = ZERO
    fee: Decimal = ZERO
    comment: str = ""
    # The profit that a cancelled deal no longer shows, though it has moved the balance.
    voided: Decimal = ZERO

    @property
    def money(self) -> Decimal:
        """What the deal has moved on the balance, or on the credit if that is its type."""
        return self.profit + self.voided + self.commission + self.swap + self.fee


@dataclass(kw_only=True, slots=True)
class Position:
    ticket: int
    identifier: int
    symbol: str
    type: int
    lots: Decimal
    price_open: Decimal
    time_msc: int
    update_msc: int
    reason: int
    sl: Decimal = ZERO
    tp: Decimal = ZERO
    magic: int = 0
    comment: str = ""
    swap: Decimal = ZERO
    loses_magic: int = 0  # 1 when the broker's own exits of it carry magic 0

    @property
    def side(self) -> Side:
        return side_of(self.type)
