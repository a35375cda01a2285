"""The checks just before a send, against what the terminal shows at that moment. What they refuse was not sent."""

from decimal import ROUND_FLOOR, Decimal
from typing import Any

from brokers.mt5.constants import PositionKind
from brokers.mt5.floats import exact
from brokers.mt5.session import Session, Struct


def refused(reason: str, **detail: Any) -> Struct:
    return {"stage": "refused", "reason": reason, "detail": {name: str(value) for name, value in detail.items()}}


def permission(account: Struct, terminal: Struct) -> Struct | None:
    """Algo trading may go off with any restart of the terminal, so it is asked before each send."""
    # The account's own flag is down as well while there is no connection, so that comes first.
    if not terminal["connected"]:
        return refused("broker_unavailable", terminal="not connected to the broker")
    flags = {
        "terminal_trade_allowed": terminal["trade_allowed"],
        "api_enabled": not terminal["tradeapi_disabled"],
        "account_trade_allowed": account["trade_allowed"],
        "account_trade_expert": account["trade_expert"],
    }
    return None if all(flags.values()) else refused("trading_disabled", **flags)


def quote(tick: Struct) -> Struct | None:
    return None if tick["bid"] and tick["ask"] else refused("no_quote", bid=tick["bid"], ask=tick["ask"])


def market_price(tick: Struct, *, side: str, reference: str, collar_points: int, point: float) -> Struct:
    """Price and deviation of a market order, or a refusal if the price is worse than the collar allows.

    The deviation, which binds under Request and Instant execution, is what the collar leaves, rounded down.
    """
    price = exact(tick["ask"] if side == "buy" else tick["bid"])
    sign = 1 if side == "buy" else -1
    worse = (price - Decimal(reference)) * sign / exact(point)
    if worse > collar_points:
        return refused(
            "price_collar",
            reference_price=reference,
            live_price=price,
            worse_points=worse,
            collar_points=collar_points,
        )
    room = (collar_points - worse).to_integral_value(ROUND_FLOOR)
    return {"price": float(price), "deviation": int(room)}


def closing(session: Session, position_id: int, *, request: Struct, side: str) -> Struct:
    """The ticket of the position to close, or a refusal if it is gone, smaller, or on the other side."""
    position = open_position(session, position_id, symbol=request["symbol"])
    if position is None:
        return refused("position_closed", position_id=position_id)
    if (position["type"] == PositionKind.BUY) == (side == "buy"):
        return refused("close_side", side=side, position_id=position_id)
    if exact(request["volume"]) > exact(position["volume"]):
        return refused("close_volume", volume=exact(request["volume"]), open_volume=exact(position["volume"]))
    return {"position": position["ticket"]}


def open_position(session: Session, position_id: int, *, symbol: str | None = None) -> Struct | None:
    """The open position with this identifier; its ticket is usually, but not always, the same number."""
    queries: list[dict[str, Any]] = [{"ticket": position_id}, {"symbol": symbol} if symbol else {}]
    for query in queries:
        records: list[Struct] = session.ask("positions_get", **query)
        for record in records:
            if record["identifier"] == position_id:
                return record
    return None
