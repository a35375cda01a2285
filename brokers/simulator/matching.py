"""Orders against the market: triggers, fills by depth, expiry, promised fills (facts §10.2b).

1. An order fills only at prices its type allows, and only from the depth that is left.
2. FOK fills whole or not at all, IOC cancels its rest, RETURN keeps its rest working.
3. An order with a plan ignores triggers and depth: the broker has promised those fills.
"""

import json
from collections.abc import Sequence
from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.desk import Desk
from brokers.simulator.market import Quote, Side, Slice
from brokers.simulator.positions import PositionKeeping
from brokers.simulator.records import (
    LIMIT_TYPES,
    MARKET_TYPES,
    STOP_LIMIT_TYPES,
    STOP_TYPES,
    ZERO,
    Deal,
    Order,
)

NO_PLAN = "[]"


class Matching:
    def __init__(self, desk: Desk, keeping: PositionKeeping) -> None:
        self._market = desk.market
        self._books = desk.books
        self._keeping = keeping
        self._account = desk.account
        self._symbols = desk.symbols
        self._clock = desk.clock

    def on_tick(self, name: str) -> None:
        """Trigger and fill what the new quote allows, oldest order first."""
        quote = self._market.quote(name)
        assert quote is not None, "a tick leaves a quote"
        for order in sorted(self._books.orders_of(name), key=lambda order: order.ticket):
            if order.plan != NO_PLAN or not reached(order, quote):
                continue
            if order.type in STOP_LIMIT_TYPES:
                self._place_limit(order)
                if not reached(order, quote):
                    continue
            if order.type in MARKET_TYPES or order.filled or self._affordable(order):
                self.execute(order)
            else:
                self.give_up(order)

    def execute(self, order: Order) -> list[Deal]:
        """Fill what depth and filling mode allow now, then cancel the rest or leave it working."""
        symbol = self._symbols[order.symbol]
        worst = order.price if order.type in LIMIT_TYPES else None
        available = self._market.available(symbol, order.side, worst=worst)
        if order.filling == mt5.ORDER_FILLING_FOK and available < order.rest:
            self.give_up(order)
            return []
        deals = self.fill(order, self._market.take(symbol, order.side, order.rest, worst=worst))
        if order.rest > 0 and order.filling == mt5.ORDER_FILLING_IOC:
            self.give_up(order)
        return deals

    def fill(self, order: Order, slices: Sequence[Slice]) -> list[Deal]:
        """Book the slices; the order ends FILLED, PARTIAL, or CANCELED when its position is gone."""
        now_msc = self._clock.now_msc()
        deals: list[Deal] = []
        for dealt in slices:
            position = self._keeping.met_by(order)
            if order.closes and (position is None or position.lots < dealt.lots):
                self.give_up(order)
                return deals
            deals.append(self._keeping.fill(order, dealt, now_msc=now_msc))
            order.rest -= dealt.lots
            order.position_id = deals[-1].position_id
        if order.rest == 0:
            self._books.finish(order, mt5.ORDER_STATE_FILLED, now_msc=now_msc)
        elif deals:
            order.state = mt5.ORDER_STATE_PARTIAL
            self._books.save_order(order)
        return deals

    def give_up(self, order: Order, *, state: int = mt5.ORDER_STATE_CANCELED) -> None:
        self._books.finish(order, state, now_msc=self._clock.now_msc())

    def promise(self, order: Order, plan: Sequence[tuple[int, Decimal]], *, end: int) -> None:
        """Fill these lots at these UTC milliseconds, whatever the depth; the rest after the last ends in `end`."""
        order.plan_end = end
        order.plan = json.dumps([[due_msc, str(lots)] for due_msc, lots in plan])
        self._books.save_order(order)

    def keep_promises(self) -> None:
        now_msc = self._clock.utc_msc()
        for order in [order for order in self._books.orders.values() if order.plan != NO_PLAN]:
            plan = _plan_of(order)
            while plan and plan[0][0] <= now_msc and order.ticket in self._books.orders:
                _, lots = plan.pop(0)
                order.plan = json.dumps([[due_msc, str(later)] for due_msc, later in plan])
                slices = self._market.take_all(self._symbols[order.symbol], order.side, lots)
                self.fill(order, slices)
                if not plan and order.rest > 0 and order.ticket in self._books.orders:
                    self.give_up(order, state=order.plan_end)

    def next_promise_utc_msc(self) -> int | None:
        plans = (_plan_of(order) for order in self._books.orders.values() if order.plan != NO_PLAN)
        return min((plan[0][0] for plan in plans), default=None)

    def expire(self) -> None:
        now = self._clock.now()
        for order in list(self._books.orders.values()):
            if order.expiration and order.expiration < now:
                self._books.finish(order, mt5.ORDER_STATE_EXPIRED, now_msc=self._clock.now_msc())

    def _place_limit(self, order: Order) -> None:
        order.type = (
            mt5.ORDER_TYPE_BUY_LIMIT if order.type == mt5.ORDER_TYPE_BUY_STOP_LIMIT else mt5.ORDER_TYPE_SELL_LIMIT
        )
        order.price, order.stoplimit = order.stoplimit, ZERO
        self._books.save_order(order)

    def _affordable(self, order: Order) -> bool:
        symbol = self._symbols[order.symbol]
        return self._account.extra_margin(symbol, order.side, order.rest) <= self._account.free_margin()


def reached(order: Order, quote: Quote) -> bool:
    """The trigger rules of facts §10.2b; a stop that has begun to fill goes on as a market order."""
    if order.type in MARKET_TYPES or (order.type in STOP_TYPES and order.filled):
        return True
    touch = quote.touch(order.side)
    rising = (order.side is Side.BUY) != (order.type in LIMIT_TYPES)
    return touch >= order.price if rising else touch <= order.price


def _plan_of(order: Order) -> list[tuple[int, Decimal]]:
    return [(due_msc, Decimal(lots)) for due_msc, lots in json.loads(order.plan)]
