"""Workflows whose histories are kept: together they pass every branch that a history can pin down."""

from collections.abc import Awaitable, Callable

from brokers.simulator.faults import AnswerLost
from domain.discrepancies import Decision
from domain.orders import OrderIntent, OrderType
from domain.trades import workflow_id
from tests.desk import Desk
from tests.factories import lots, price
from tests.reconciling import decide, reconcile
from tests.workflows.asking import cancel
from tests.workflows.holding import open_position
from tests.workflows.reversing import pair, reverse
from tests.workflows.stopping import carry_on, ended, latch, make_stop, resume
from workflows.reconciliation_messages import discrepancy_workflow_id, run_workflow_id
from workflows.reversal_messages import reversal_id
from workflows.stop_messages import workflow_id as stop_workflow_id


async def market_order_filled(desk: Desk) -> str:
    intent = desk.intent()
    await desk.execute(intent)
    return await _settled(desk, intent)


async def limit_order_cancelled(desk: Desk) -> str:
    intent = desk.intent(order_type=OrderType.LIMIT, price=price("1.00000"))
    await desk.execute(intent)
    await cancel(desk, intent)
    return await _settled(desk, intent)


async def order_denied(desk: Desk) -> str:
    intent = desk.intent(volume=lots("50"))
    await desk.execute(intent)
    return await _settled(desk, intent)


async def unresolved_then_filled(desk: Desk) -> str:
    desk.control.script("EURUSD", [AnswerLost(executed=True)])
    intent = desk.intent()
    await desk.execute(intent)
    return await _settled(desk, intent)


async def position_reversed(desk: Desk) -> str:
    bought, _ = await open_position(desk)
    close, opening = pair(desk, bought)
    await reverse(desk, close, opening)
    return reversal_id(desk.user_id, close.client_order_id)


async def everything_stopped(desk: Desk) -> str:
    await open_position(desk)
    await desk.execute(desk.intent(order_type=OrderType.LIMIT, price=price("1.00000")))
    stop = make_stop()
    await latch(desk, stop)
    await carry_on(desk, stop)
    await ended(desk, stop)
    await resume(desk, stop)
    return stop_workflow_id(stop.stop_id)


async def difference_decided(desk: Desk) -> str:
    await reconcile(desk)
    desk.control.slip_money("250")
    (waiting,) = (await reconcile(desk)).reviews
    await decide(desk, waiting, Decision.DISPUTE)
    await decide(desk, waiting, Decision.ACCEPT)
    return discrepancy_workflow_id(waiting)


async def difference_found(desk: Desk) -> str:
    desk.control.slip_money("42")
    await reconcile(desk, key="found")
    return run_workflow_id(desk.slug, "found")


async def difference_explained(desk: Desk) -> str:
    desk.control.slip_money("250")
    await reconcile(desk)
    desk.control.record_late("250", ago_ms=5_000)
    await reconcile(desk, key="explained")
    return run_workflow_id(desk.slug, "explained")


async def _settled(desk: Desk, intent: OrderIntent) -> str:
    await desk.settled(intent)
    return workflow_id(intent.user_id, intent.client_order_id)


# Each answers with the id of the workflow that ran.
SCENARIOS: dict[str, Callable[[Desk], Awaitable[str]]] = {
    scenario.__name__: scenario
    for scenario in (
        market_order_filled,
        limit_order_cancelled,
        order_denied,
        unresolved_then_filled,
        position_reversed,
        everything_stopped,
        difference_decided,
        difference_found,
        difference_explained,
    )
}
