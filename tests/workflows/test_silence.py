"""Silence is not an answer: an order is sent once, and only the broker's own books say what became of it."""

import pytest

from brokers.simulator.faults import AnswerLost, Delay, Fault, Hang
from domain.orders import OrderState, OrderType
from tests.desk import Desk
from tests.factories import lots, price
from tests.workflows.asking import event_kinds, reservation_state, sends_of


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (AnswerLost(executed=True), OrderState.FILLED, None),
        (AnswerLost(executed=False), OrderState.REJECTED, "absent"),
        (Hang(executed=True), OrderState.FILLED, None),
        (Hang(executed=False), OrderState.REJECTED, "absent"),
    ],
    ids=["answer lost, executed", "answer lost, not executed", "hang, executed", "hang, not executed"],
)
async def test_an_unanswered_send_is_unresolved_until_the_broker_shows_what_became_of_it(
    desk: Desk, fault: Fault, state: OrderState, reason: str | None
) -> None:
    child = desk.sender.broker.sender_pid  # type: ignore[attr-defined] # the adapter's own, no part of the protocol
    desk.control.script("EURUSD", [fault])
    intent = desk.intent()

    await desk.execute(intent)

    executed = state is OrderState.FILLED
    if not executed:
        # Long enough for a look: absence takes the quiet window to prove.
        unknown = await desk.trade(intent)
        assert (unknown.state, unknown.progress.needs_attention) == (OrderState.UNRESOLVED, True)
        assert await reservation_state(desk, intent) == "held"
    trade = await desk.settled(intent)
    assert (trade.state, trade.progress.needs_attention) == (state, False)
    if reason is not None:
        assert trade.progress.reason == reason
    assert len(sends_of(desk, trade)) == 1
    assert desk.control.counts().get(trade.progress.magic, 0) == (1 if executed else 0)
    assert await reservation_state(desk, intent) == ("settled" if executed else "released")
    assert "trade.outcome_lost" in await event_kinds(desk, intent.trade_id)
    assert desk.sender.broker.sender_pid != child  # type: ignore[attr-defined] # as above


async def test_a_slow_answer_is_waited_for(desk: Desk) -> None:
    desk.control.script("EURUSD", [Delay(ms=800)])
    ack = await desk.execute(desk.intent())
    assert ack.state is OrderState.FILLED


async def test_after_a_hang_the_next_order_goes_through(desk: Desk) -> None:
    desk.control.script("EURUSD", [Hang(executed=False)])
    lost, next_one = desk.intent(), desk.intent()

    await desk.execute(lost)
    ack = await desk.execute(next_one)

    assert ack.state is OrderState.FILLED
    assert len(desk.control.books().positions) == 1


async def test_an_unanswered_order_that_filled_in_part_is_followed_to_its_end(desk: Desk) -> None:
    desk.control.hold_market("EURUSD")
    desk.control.tick("EURUSD", "1.10000", "1.10010")
    desk.control.script("EURUSD", [AnswerLost(executed=True)])
    # One lot at each price: two of them are within the limit, half a lot goes on working.
    intent = desk.intent(order_type=OrderType.LIMIT, price=price("1.09901"), volume=lots("2.50"))
    await desk.execute(intent)
    desk.control.tick("EURUSD", "1.09890", "1.09900")
    part = await desk.becomes(intent, OrderState.PARTIALLY_FILLED)
    assert part.progress.filled_volume == lots("2.00")
    assert part.progress.broker_order_id is not None

    await desk.sender.broker.cancel(part.progress.broker_order_id)

    trade = await desk.settled(intent)
    assert (trade.state, trade.progress.filled_volume) == (OrderState.CANCELLED, lots("2.00"))
