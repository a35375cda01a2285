"""The trap: a fill comes before anybody expects it, and is lost or counted twice."""

import asyncio

from brokers.simulator.faults import Delay, ListGap
from domain.orders import OrderState
from tests.desk import Desk
from tests.waiting import until
from tests.workflows.asking import sends_of


async def test_a_fill_that_is_booked_before_its_submit_returns_is_counted_once(shared_desk: Desk) -> None:
    desk = shared_desk
    desk.control.script("EURUSD", [Delay(ms=1200)])
    intent = desk.intent()
    opening = asyncio.create_task(desk.execute(intent))
    answered = "SELECT outcome FROM send_attempts WHERE trade_id = :id"

    async def booked() -> bool:
        return bool(await desk.scalar("SELECT count(*) FROM fills WHERE trade_id = :id", id=intent.trade_id))

    await until(booked, what="the feed to book the fill")
    ack = await opening
    trade = await desk.settled(intent)

    assert (ack.state, trade.progress.filled_volume) == (OrderState.FILLED, intent.volume)
    assert await desk.scalar("SELECT count(*) FROM fills WHERE trade_id = :id", id=intent.trade_id) == 1
    assert await desk.scalar(answered, id=intent.trade_id) == "accepted"
    assert len(sends_of(desk, trade)) == 1


async def test_an_order_filled_and_gone_before_the_first_look_is_found_by_its_deals(shared_desk: Desk) -> None:
    """It is in no list of open orders, and its position is not shown yet: only history has it."""
    desk = shared_desk
    desk.control.script("EURUSD", [[ListGap(ms=1500)]])
    intent = desk.intent()

    ack = await desk.execute(intent)

    trade = await desk.settled(intent)
    assert (ack.state, trade.state) == (OrderState.FILLED, OrderState.FILLED)
    assert trade.progress.filled_volume == intent.volume
