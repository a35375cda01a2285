"""Where prices and protective levels may stand (facts §4.5)."""

from decimal import Decimal

from brokers.simulator.market import Quote, Side
from brokers.simulator.records import (
    LIMIT_TYPES,
    MARKET_TYPES,
    STOP_LIMIT_TYPES,
    STOP_TYPES,
    Order,
    Position,
    side_of,
)
from brokers.simulator.symbols import Symbol


def is_stop(order_type: int) -> bool:
    return order_type in STOP_TYPES


def price_fits(symbol: Symbol, quote: Quote, order_type: int, price: Decimal, *, post_only: bool) -> bool:
    """On the tick grid and on the right side of the market, at least the stops level away.

    A post-only limit may cross: it is then cancelled by design instead of refused.
    """
    if price <= 0 or not symbol.on_tick(price):
        return False
    if post_only:
        return True
    side = side_of(order_type)
    touch = quote.touch(side)
    above = (side is Side.BUY) != (order_type in LIMIT_TYPES)
    distance = price - touch if above else touch - price
    return distance > 0 and distance >= symbol.stops_level * symbol.point


def stoplimit_fits(symbol: Symbol, order_type: int, *, price: Decimal, stoplimit: Decimal) -> bool:
    """The limit of a stop-limit buy lies below its trigger, that of a sell above."""
    if stoplimit <= 0 or not symbol.on_tick(stoplimit):
        return False
    return stoplimit < price if side_of(order_type) is Side.BUY else stoplimit > price


def stops_fit(symbol: Symbol, quote: Quote, side: Side, *, sl: Decimal, tp: Decimal) -> bool:
    """A long's levels are measured from bid, a short's from ask; 0 is no level."""
    market = quote.touch(side.opposite)
    least = symbol.stops_level * symbol.point
    for level, below in ((sl, side is Side.BUY), (tp, side is Side.SELL)):
        if level == 0:
            continue
        distance = market - level if below else level - market
        if level < 0 or not symbol.on_tick(level) or distance <= 0 or distance < least:
            return False
    return True


def order_frozen(symbol: Symbol, quote: Quote, order: Order) -> bool:
    if not symbol.freeze_level or order.type in MARKET_TYPES:
        return False
    assert order.type in LIMIT_TYPES | STOP_TYPES | STOP_LIMIT_TYPES, "what is not a market order is pending"
    return abs(order.price - quote.touch(order.side)) <= symbol.freeze_level * symbol.point


def position_frozen(symbol: Symbol, quote: Quote, position: Position) -> bool:
    if not symbol.freeze_level:
        return False
    market = quote.touch(position.side.opposite)
    reach = symbol.freeze_level * symbol.point
    return any(level and abs(level - market) <= reach for level in (position.sl, position.tp))
