"""A trade request as the terminal receives it, and the answers it can give."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from brokers.simulator import constants as mt5
from brokers.simulator.records import ZERO

# Floats arrive with their binary dust; no price or volume on offer needs more places than this.
PLACES = Decimal("1e-8")
AMOUNT_MAX = 1e15
AMOUNTS = ("volume", "price", "stoplimit", "sl", "tp")

COMMENTS: dict[int, str] = {
    mt5.TRADE_RETCODE_REQUOTE: "Requote",
    mt5.TRADE_RETCODE_REJECT: "Rejected",
    mt5.TRADE_RETCODE_CANCEL: "Canceled",
    mt5.TRADE_RETCODE_PLACED: "Order placed",
    mt5.TRADE_RETCODE_DONE: "Request executed",
    mt5.TRADE_RETCODE_DONE_PARTIAL: "Request executed partially",
    mt5.TRADE_RETCODE_ERROR: "Common error",
    mt5.TRADE_RETCODE_TIMEOUT: "Timeout",
    mt5.TRADE_RETCODE_INVALID: "Invalid request",
    mt5.TRADE_RETCODE_INVALID_VOLUME: "Invalid volume",
    mt5.TRADE_RETCODE_INVALID_PRICE: "Invalid price",
    mt5.TRADE_RETCODE_INVALID_STOPS: "Invalid stops",
    mt5.TRADE_RETCODE_TRADE_DISABLED: "Trade disabled",
    mt5.TRADE_RETCODE_MARKET_CLOSED: "Market closed",
    mt5.TRADE_RETCODE_NO_MONEY: "No money",
    mt5.TRADE_RETCODE_PRICE_CHANGED: "Price changed",
    mt5.TRADE_RETCODE_PRICE_OFF: "No prices",
    mt5.TRADE_RETCODE_INVALID_EXPIRATION: "Invalid expiration",
    mt5.TRADE_RETCODE_ORDER_CHANGED: "Order changed",
    mt5.TRADE_RETCODE_TOO_MANY_REQUESTS: "Too many requests",
    mt5.TRADE_RETCODE_NO_CHANGES: "No changes",
    mt5.TRADE_RETCODE_SERVER_DISABLES_AT: "AutoTrading disabled by server",
    mt5.TRADE_RETCODE_CLIENT_DISABLES_AT: "AutoTrading disabled by client",
    mt5.TRADE_RETCODE_LOCKED: "Request locked",
    mt5.TRADE_RETCODE_FROZEN: "Order or position frozen",
    mt5.TRADE_RETCODE_INVALID_FILL: "Unsupported filling mode",
    mt5.TRADE_RETCODE_CONNECTION: "No connection",
    mt5.TRADE_RETCODE_ONLY_REAL: "Only real accounts allowed",
    mt5.TRADE_RETCODE_LIMIT_ORDERS: "Orders limit reached",
    mt5.TRADE_RETCODE_LIMIT_VOLUME: "Volume limit reached",
    mt5.TRADE_RETCODE_INVALID_ORDER: "Invalid order",
    mt5.TRADE_RETCODE_POSITION_CLOSED: "Position closed",
    mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME: "Invalid close volume",
    mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST: "Close order already exists",
    mt5.TRADE_RETCODE_LIMIT_POSITIONS: "Positions limit reached",
    mt5.TRADE_RETCODE_REJECT_CANCEL: "Activation rejected, order canceled",
    mt5.TRADE_RETCODE_LONG_ONLY: "Only long positions allowed",
    mt5.TRADE_RETCODE_SHORT_ONLY: "Only short positions allowed",
    mt5.TRADE_RETCODE_CLOSE_ONLY: "Only position closing allowed",
    mt5.TRADE_RETCODE_FIFO_CLOSE: "Positions close by FIFO only",
}


class CallFailed(Exception):
    """The call returns its failure value; `code` and `message` become last_error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, kw_only=True, slots=True)
class TradeRequest:
    """Fields of `order_send`; a missing one is zero, so a missing type is BUY (facts §4.1)."""

    action: int = 0
    magic: int = 0
    order: int = 0
    symbol: str = ""
    volume: Decimal = ZERO
    price: Decimal = ZERO
    stoplimit: Decimal = ZERO
    sl: Decimal = ZERO
    tp: Decimal = ZERO
    type: int = mt5.ORDER_TYPE_BUY
    type_filling: int = mt5.ORDER_FILLING_FOK
    type_time: int = mt5.ORDER_TIME_GTC
    expiration: int = 0
    deviation: int = 0
    comment: str = ""
    position: int = 0
    position_by: int = 0
    reason: int = mt5.ORDER_REASON_EXPERT  # who asks; not a field of the package's request

    @classmethod
    def from_wire(cls, fields: Mapping[str, Any]) -> "TradeRequest":
        values: dict[str, Any] = {
            name: exact(value) if isinstance(value, float) else value for name, value in fields.items()
        }
        values["magic"] = signed(values.get("magic", 0))
        return cls(**values)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "TradeRequest":
        """From what `plain` has written."""
        amounts = {name: Decimal(values[name]) for name in AMOUNTS}
        return cls(**{**values, **amounts})

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it, amounts exact."""
        return {**asdict(self), **{name: str(getattr(self, name)) for name in AMOUNTS}}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that went no further than the terminal: request_id and all numbers stay 0."""

    retcode: int

    @property
    def comment(self) -> str:
        return COMMENTS[self.retcode]


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """The call fails: None, with this last_error."""

    code: int
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the broker answered; `request_id` is set when the answer leaves."""

    retcode: int
    order: int = 0
    deal: int = 0
    volume: Decimal = ZERO
    price: Decimal = ZERO


def comment_of(retcode: int) -> str:
    return COMMENTS.get(retcode, f"Retcode {retcode}")


def signed(magic: int) -> int:
    """The package takes 64 bits unsigned, the platform stores a signed long (facts §4.4)."""
    return magic - 2**64 if magic >= 2**63 else magic


def exact(value: float) -> Decimal:
    """The amount that a float stands for; raises ValueError for what is no price or volume."""
    if not math.isfinite(value) or abs(value) >= AMOUNT_MAX:
        raise ValueError(f"{value} is no amount")
    return Decimal(repr(value)).quantize(PLACES).normalize()
