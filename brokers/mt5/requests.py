"""From the domain to request dicts for `order_send`. Pure.

The package's parser is strict: int for numbers and times, float for volume and prices, and a missing key is zero.
What only the live market can tell (filling mode, market price, deviation, the position's ticket) the child adds.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.mt5.clock import ServerClock
from brokers.mt5.constants import Action, FillingMode, OrderKind, OrderTime
from brokers.mt5.floats import wire
from domain.orders import Changes, OrderRequest, OrderType, Side, TimeInForce

# Brokers cut and rewrite comments, and some refuse punctuation: a hint for people, the key is the magic number.
COMMENT_MAX = 16
NOT_IN_COMMENT = re.compile(r"[^A-Za-z0-9_-]")

BUY_KINDS = {
    OrderType.MARKET: OrderKind.BUY,
    OrderType.LIMIT: OrderKind.BUY_LIMIT,
    OrderType.STOP: OrderKind.BUY_STOP,
    OrderType.STOP_LIMIT: OrderKind.BUY_STOP_LIMIT,
}
ORDER_TIMES = {
    TimeInForce.GTC: OrderTime.GTC,
    TimeInForce.DAY: OrderTime.DAY,
    TimeInForce.GTD: OrderTime.SPECIFIED,
    # These two say how to fill, not how long to stay.
    TimeInForce.IOC: OrderTime.GTC,
    TimeInForce.FOK: OrderTime.GTC,
}
FILLINGS = {TimeInForce.IOC: FillingMode.IOC, TimeInForce.FOK: FillingMode.FOK}


def order_kind(order_type: OrderType, side: Side) -> int:
    return BUY_KINDS[order_type] + (side is Side.SELL)


def comment_of(text: str) -> str:
    return NOT_IN_COMMENT.sub("", text)[:COMMENT_MAX]


def order_request(order: OrderRequest, *, clock: ServerClock) -> dict[str, Any]:
    if order.close_by_position_id is not None:
        return _close_by(order)
    pending = order.order_type is not OrderType.MARKET
    request: dict[str, Any] = {
        "action": int(Action.PENDING if pending else Action.DEAL),
        "symbol": order.symbol,
        "volume": wire(order.volume),
        "type": int(order_kind(order.order_type, order.side)),
        "type_time": int(ORDER_TIMES[order.time_in_force]),
        "magic": order.magic,
        "comment": comment_of(order.comment),
    }
    if order.time_in_force is TimeInForce.GTD:
        assert order.expires_at is not None, "an order good till a date names the date"
        request["expiration"] = clock.to_server(order.expires_at)
    prices = {
        "price": order.price if pending else None,
        "stoplimit": order.stop_limit_price,
        "sl": order.stop_loss,
        "tp": order.take_profit,
    }
    return request | {name: wire(price) for name, price in prices.items() if price is not None}


def _close_by(order: OrderRequest) -> dict[str, Any]:
    """The broker closes all that both positions have in common; `volume` is for the child to hold that against."""
    return {
        "action": int(Action.CLOSE_BY),
        "symbol": order.symbol,
        "volume": wire(order.volume),
        "magic": order.magic,
        "comment": comment_of(order.comment),
    }


def contract_terms(order: OrderRequest) -> dict[str, Any] | None:
    """What the live symbol must still be; what closes a position is not held to it, or nothing could be closed."""
    if order.contract is None or order.position_id is not None:
        return None
    terms = vars(order.contract)
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in terms.items()}


def filling_wanted(time_in_force: TimeInForce) -> int | None:
    """The filling mode that the caller's time in force demands, None if it leaves the choice."""
    mode = FILLINGS.get(time_in_force)
    return None if mode is None else int(mode)


def level_changes(changes: Changes) -> dict[str, float]:
    """The levels to change, zero removing one; levels that stay are copied from the live order or position."""
    prices = {
        "price": changes.price,
        "stoplimit": changes.stop_limit_price,
        "sl": changes.stop_loss,
        "tp": changes.take_profit,
    }
    return {name: wire(price) for name, price in prices.items() if price is not None}


def expiry_change(expires_at: datetime | None, *, clock: ServerClock) -> dict[str, int]:
    if expires_at is None:
        return {}
    return {"type_time": int(OrderTime.SPECIFIED), "expiration": clock.to_server(expires_at)}
