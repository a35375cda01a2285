"""The requests of the pre-flight: the least volume, and nothing that a worker would not send as well. Pure."""

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from brokers.mt5.constants import Action, OrderKind, OrderTime, PositionKind
from brokers.mt5.floats import exact, wire

Struct = Mapping[str, Any]

COMMENT = "nexus-preflight"
# Below what Nexus gives its own orders, so that no trade ever has the number of a pre-flight.
MAGIC_MIN, MAGIC_COUNT = 100_000_000, 400_000_000
STOP_POINTS_MIN = 100
DEVIATION_POINTS = 100
# Far from any price that comes within the seconds of its life, and near enough for brokers that bound it.
FAR = Decimal("0.95")


def magics(epoch_seconds: int) -> tuple[int, int]:
    """The numbers of the market order and of the pending one, which no pre-flight a second later shares."""
    first = MAGIC_MIN + 2 * (epoch_seconds % MAGIC_COUNT)
    return first, first + 1


def on_grid(price: Decimal, symbol: Struct) -> Decimal:
    """The price or the next one below it that the symbol has."""
    step = exact(symbol["trade_tick_size"]) or exact(symbol["point"])
    return (price / step).to_integral_value(ROUND_FLOOR) * step


def stop_below(symbol: Struct, tick: Struct) -> Decimal:
    """A stop loss for a purchase, at a distance that every broker with honest levels takes."""
    point = exact(symbol["point"])
    spread_points = (exact(tick["ask"]) - exact(tick["bid"])) / point
    points = max(Decimal(STOP_POINTS_MIN), 20 * spread_points, 3 * Decimal(symbol["trade_stops_level"]))
    return on_grid(exact(tick["bid"]) - points * point, symbol)


def market(symbol: Struct, tick: Struct, *, magic: int, mode: int, stop_loss: Decimal | None) -> dict[str, Any]:
    request = {
        "action": int(Action.DEAL),
        "symbol": symbol["name"],
        "volume": float(symbol["volume_min"]),
        "type": int(OrderKind.BUY),
        "price": float(tick["ask"]),
        "deviation": DEVIATION_POINTS,
        "type_filling": mode,
        "type_time": int(OrderTime.GTC),
        "magic": magic,
        "comment": COMMENT,
    }
    return request if stop_loss is None else request | {"sl": wire(stop_loss)}


def far_limit(symbol: Struct, tick: Struct, *, magic: int, mode: int) -> dict[str, Any]:
    return {
        "action": int(Action.PENDING),
        "symbol": symbol["name"],
        "volume": float(symbol["volume_min"]),
        "type": int(OrderKind.BUY_LIMIT),
        "price": wire(on_grid(exact(tick["bid"]) * FAR, symbol)),
        "type_filling": mode,
        "type_time": int(OrderTime.GTC),
        "magic": magic,
        "comment": COMMENT,
    }


def closing(position: Struct, tick: Struct, *, magic: int, mode: int) -> dict[str, Any]:
    bought = position["type"] == PositionKind.BUY
    return {
        "action": int(Action.DEAL),
        "symbol": position["symbol"],
        "volume": float(position["volume"]),
        "type": int(OrderKind.SELL if bought else OrderKind.BUY),
        "position": position["ticket"],
        "price": float(tick["bid"] if bought else tick["ask"]),
        "deviation": DEVIATION_POINTS,
        "type_filling": mode,
        "type_time": int(OrderTime.GTC),
        "magic": magic,
        "comment": COMMENT,
    }


def removal(ticket: int) -> dict[str, Any]:
    return {"action": int(Action.REMOVE), "order": ticket}
