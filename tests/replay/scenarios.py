"""Trades whose histories are kept: together they pass every branch that a history can pin down."""

from collections.abc import Awaitable, Callable

from brokers.simulator.faults import AnswerLost
from domain.orders import OrderIntent, OrderType
from tests.desk import Desk
from tests.factories import lots, price
from tests.workflows.asking import cancel


async def market_order_filled(desk: Desk) -> OrderIntent:
    intent = desk.intent()
    await desk.execute(intent)
    return intent


async def limit_order_cancelled(desk: Desk) -> OrderIntent:
    intent = desk.intent(order_type=OrderType.LIMIT, price=price("1.00000"))
    await desk.execute(intent)
    await cancel(desk, intent)
    return intent


async def order_denied(desk: Desk) -> OrderIntent:
    intent = desk.intent(volume=lots("50"))
    await desk.execute(intent)
    return intent


async def unresolved_then_filled(desk: Desk) -> OrderIntent:
    desk.control.script("EURUSD", [AnswerLost(executed=True)])
    intent = desk.intent()
    await desk.execute(intent)
    return intent


SCENARIOS: dict[str, Callable[[Desk], Awaitable[OrderIntent]]] = {
    scenario.__name__: scenario
    for scenario in (market_order_filled, limit_order_cancelled, order_denied, unresolved_then_filled)
}
