"""Orders that wait at the broker: until they are filled, in parts or whole, cancelled or changed."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from brokers.simulator import constants as mt5
from brokers.simulator.control import EVERY_SYMBOL
from brokers.simulator.faults import Reject
from domain.commands import CommandEnd
from domain.orders import Changes, OrderIntent, OrderState, OrderType
from tests.desk import Desk
from tests.factories import lots, price
from tests.waiting import until
from tests.workflows.asking import cancel, event_kinds, modify, reservation_state, sends_of
from workflows.trade_messages import CommandAnswer

BELOW = price("1.09500")


@pytest.fixture
def quiet_desk(desk: Desk) -> Desk:
    """A desk whose market stands still at 1.10000 / 1.10010."""
    desk.control.hold_market("EURUSD")
    desk.control.tick("EURUSD", "1.10000", "1.10010")
    return desk


async def rest(desk: Desk, **changes: Any) -> OrderIntent:
    """A buy limit far below the market, working."""
    intent = desk.intent(**{"order_type": OrderType.LIMIT, "price": BELOW, **changes})
    ack = await desk.execute(intent)
    assert ack.state is OrderState.WORKING
    return intent


async def broker_state(desk: Desk, intent: OrderIntent) -> int:
    number = (await desk.trade(intent)).progress.broker_order_id
    (order,) = [order for order in desk.control.books().orders if order.ticket == number]
    return order.state


async def test_a_limit_order_rests_and_is_cancelled(quiet_desk: Desk) -> None:
    desk = quiet_desk
    intent = await rest(desk)
    assert await reservation_state(desk, intent) == "held"

    answer = await cancel(desk, intent)

    assert (answer.outcome, answer.state) == ("done", OrderState.CANCELLED)
    trade = await desk.settled(intent)
    assert (trade.state, trade.progress.filled_volume) == (OrderState.CANCELLED, lots("0"))
    assert await reservation_state(desk, intent) == "released"
    assert await desk.scalar("SELECT held_loss + held_notional + held_margin FROM exposure_totals") == 0
    assert await broker_state(desk, intent) == mt5.ORDER_STATE_CANCELED


async def test_a_limit_order_fills_in_parts_as_the_market_gives(quiet_desk: Desk) -> None:
    desk = quiet_desk
    intent = await rest(desk, price=price("1.09901"), volume=lots("2.50"))

    # One lot at each level: two of them are within the limit.
    desk.control.tick("EURUSD", "1.09890", "1.09900")
    part = await desk.becomes(intent, OrderState.PARTIALLY_FILLED)
    assert part.progress.filled_volume == lots("2.00")

    desk.control.tick("EURUSD", "1.09880", "1.09890")
    trade = await desk.settled(intent)

    assert (trade.state, trade.progress.filled_volume) == (OrderState.FILLED, lots("2.50"))
    assert trade.progress.average_price == (
        lots("1.00") * price("1.09900") + lots("1.00") * price("1.09901") + lots("0.50") * price("1.09890")
    ) / lots("2.50")
    assert len(sends_of(desk, trade)) == 1
    assert await reservation_state(desk, intent) == "settled"


async def test_a_part_filled_order_keeps_its_part_when_cancelled(quiet_desk: Desk) -> None:
    desk = quiet_desk
    intent = await rest(desk, price=price("1.09901"), volume=lots("2.50"))
    desk.control.tick("EURUSD", "1.09890", "1.09900")
    await desk.becomes(intent, OrderState.PARTIALLY_FILLED)

    await cancel(desk, intent)

    trade = await desk.settled(intent)
    assert (trade.state, trade.progress.filled_volume) == (OrderState.CANCELLED, lots("2.00"))
    assert await reservation_state(desk, intent) == "settled"


async def test_a_stop_order_is_triggered_by_the_market(quiet_desk: Desk) -> None:
    desk = quiet_desk
    intent = await rest(desk, order_type=OrderType.STOP, price=price("1.10100"))

    desk.control.tick("EURUSD", "1.10095", "1.10105")

    trade = await desk.settled(intent)
    assert (trade.state, trade.progress.average_price) == (OrderState.FILLED, price("1.10105"))
    # A stop fills at the market: five points worse than its price.
    assert trade.progress.slippage_points == 5


async def test_a_cancel_that_comes_after_the_fill_changes_nothing(quiet_desk: Desk) -> None:
    desk = quiet_desk
    intent = await rest(desk)
    desk.control.tick("EURUSD", "1.09480", "1.09490")

    # Where the feed has booked the fill already, the workflow turns the cancel away itself.
    (answer,) = await asyncio.gather(cancel(desk, intent), return_exceptions=True)

    if isinstance(answer, CommandAnswer):
        assert answer.outcome is CommandEnd.REFUSED
    else:
        assert isinstance(answer, WorkflowUpdateFailedError | RPCError)
    trade = await desk.settled(intent)
    assert (trade.state, trade.progress.filled_volume) == (OrderState.FILLED, intent.volume)


async def test_a_race_of_fills_and_cancels_ends_as_the_broker_says(quiet_desk: Desk) -> None:
    desk = quiet_desk
    intents = [await rest(desk) for _ in range(4)]

    async def fill() -> None:
        await asyncio.to_thread(desk.control.tick, "EURUSD", "1.09480", "1.09490")

    await asyncio.gather(*(cancel(desk, intent) for intent in intents), fill(), return_exceptions=True)

    for intent in intents:
        trade = await desk.settled(intent)
        ended = {mt5.ORDER_STATE_FILLED: OrderState.FILLED, mt5.ORDER_STATE_CANCELED: OrderState.CANCELLED}
        assert trade.state is ended[await broker_state(desk, intent)]
        assert trade.progress.filled_volume == (intent.volume if trade.state is OrderState.FILLED else 0)


async def test_a_cancel_is_carried_out_once_under_its_key(quiet_desk: Desk) -> None:
    desk = quiet_desk
    intent = await rest(desk)
    before = len(desk.control.books().sends)
    desk.control.script(EVERY_SYMBOL, [Reject(retcode=mt5.TRADE_RETCODE_REJECT)])

    first = await cancel(desk, intent)
    again = await cancel(desk, intent)
    other = await cancel(desk, intent, body_hash="another")

    assert (first.outcome, again.outcome, again.reason) == ("refused", "refused", first.reason)
    assert (other.outcome, other.conflict) == ("refused", True)
    assert len(desk.control.books().sends) == before + 1
    assert (await desk.trade(intent)).state is OrderState.WORKING
    assert (await cancel(desk, intent, key="cancel-2")).outcome is CommandEnd.DONE


async def test_a_change_that_lowers_the_risk_reaches_the_broker_once(quiet_desk: Desk) -> None:
    desk = quiet_desk
    intent = await rest(desk, stop_loss=price("1.09000"))
    changes = Changes(stop_loss=price("1.09400"))

    first, again = await modify(desk, intent, changes), await modify(desk, intent, changes)

    assert (first.outcome, again.outcome) == ("done", "done")
    (order,) = [order for order in desk.control.books().orders if order.sl]
    assert order.sl == Decimal("1.09400")
    assert await desk.scalar("SELECT stop_loss FROM trade_ledger") == Decimal("1.09400")
    assert (await event_kinds(desk, intent.trade_id)).count("trade.modified") == 1


async def test_a_change_that_raises_the_risk_never_leaves(quiet_desk: Desk) -> None:
    desk = quiet_desk
    intent = await rest(desk, stop_loss=price("1.09400"))
    before = len(desk.control.books().sends)

    answer = await modify(desk, intent, Changes(stop_loss=price("1.08000")))

    assert (answer.outcome, answer.state) == ("refused", OrderState.WORKING)
    assert answer.reason is not None
    assert "reserved" in answer.reason
    assert len(desk.control.books().sends) == before
    assert await desk.scalar("SELECT stop_loss FROM trade_ledger") == Decimal("1.09400")


async def test_an_order_that_is_removed_by_hand_is_noticed(quiet_desk: Desk) -> None:
    desk = quiet_desk
    intent = await rest(desk)
    number = (await desk.trade(intent)).progress.broker_order_id
    assert number is not None

    await desk.sender.broker.cancel(number)

    assert (await desk.settled(intent)).state is OrderState.CANCELLED

    async def released() -> bool:
        return await reservation_state(desk, intent) == "released"

    await until(released, what="the reservation to be released")
