"""The books are put back to an older copy, while Temporal and the broker know what came after."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text
from temporalio.exceptions import TemporalError

from brokers.simulator.faults import Delay
from db.trades import Trade
from db.verify import verify
from domain.orders import OrderIntent, OrderState, OrderType
from domain.trades import workflow_id
from tests.desk import Desk, now
from tests.factories import lots, price
from tests.restoring import copied
from tests.waiting import until
from tests.workflows.asking import cancel, reservation_state, sends_of
from tests.workflows.test_once import reset_to_the_beginning
from workflows.trade import TradeWorkflow


def limit(desk: Desk) -> OrderIntent:
    return desk.intent(order_type=OrderType.LIMIT, price=price("1.00000"))


async def remind(desk: Desk, intent: OrderIntent) -> None:
    """Let the workflow read the books now, not at its next safety poll."""
    handle = desk.client.get_workflow_handle(workflow_id(intent.user_id, intent.client_order_id))
    await handle.signal(TradeWorkflow.booked)


async def alerts(desk: Desk) -> set[str]:
    return {row["kind"] for row in await desk.rows("SELECT kind FROM alerts")}


async def broken_laws(desk: Desk) -> list[str]:
    async with desk.engine.connect() as connection:
        return [violation for law in await verify(connection) for violation in law.violations]


async def known(desk: Desk, intent: OrderIntent) -> bool:
    return bool(await desk.scalar("SELECT count(*) FROM trade_ledger WHERE id = :id", id=intent.trade_id))


async def claimed(desk: Desk) -> bool:
    return bool(await desk.scalar("SELECT count(*) FROM send_attempts"))


async def held(desk: Desk, intent: OrderIntent) -> bool:
    return await reservation_state(desk, intent) == "held"


async def alerted(desk: Desk, kind: str) -> bool:
    return kind in await alerts(desk)


async def has_fresh_quotes(desk: Desk) -> bool:
    age = "SELECT min(extract(epoch FROM clock_timestamp() - read_at)) < 1 FROM quotes"
    return bool(await desk.scalar(age))


async def taken_up(desk: Desk, intent: OrderIntent, state: OrderState) -> Trade:
    await until(partial(known, desk, intent), what="the trade to be in the books again")
    return await desk.becomes(intent, state)


async def test_a_resting_order_that_the_books_have_forgotten_is_taken_up_again(desk: Desk) -> None:
    intent = limit(desk)
    async with copied(desk.database) as before:
        assert (await desk.execute(intent)).state is OrderState.WORKING
        sent = await desk.trade(intent)
        await before.put_back()

    await remind(desk, intent)
    again = await taken_up(desk, intent, OrderState.WORKING)

    assert again.progress.broker_order_id == sent.progress.broker_order_id
    assert len(sends_of(desk, again)) == 1
    await cancel(desk, intent)
    assert (await desk.settled(intent)).state is OrderState.CANCELLED
    assert await broken_laws(desk) == []


async def test_a_resting_order_whose_claim_alone_is_forgotten_is_taken_up_again(desk: Desk) -> None:
    """The copy was made between the reservation and the send."""
    intent = limit(desk)
    async with desk.engine.begin() as connection:
        await connection.execute(text("LOCK TABLE send_attempts IN ACCESS EXCLUSIVE MODE"))
        waiting = asyncio.create_task(desk.execute(intent))
        await until(partial(held, desk, intent), what="the reservation")
    async with copied(desk.database) as before:
        with suppress(TemporalError):
            await waiting
        sent = await desk.becomes(intent, OrderState.WORKING)
        await before.put_back()

    await remind(desk, intent)
    again = await desk.becomes(intent, OrderState.WORKING)

    assert again.progress.broker_order_id == sent.progress.broker_order_id
    assert len(sends_of(desk, again)) == 1
    assert await held(desk, intent)
    assert await broken_laws(desk) == []


async def test_a_market_order_in_flight_while_the_books_forget_it_is_booked_to_its_trade(desk: Desk) -> None:
    desk.control.script("EURUSD", [Delay(ms=1200)])
    intent = desk.intent()
    async with copied(desk.database) as before:
        waiting = asyncio.create_task(desk.execute(intent))
        await until(partial(claimed, desk), what="the send to be claimed")
        await before.put_back()

    with suppress(TemporalError):
        await waiting
    trade = await taken_up(desk, intent, OrderState.FILLED)
    trade = await desk.settled(intent)
    assert trade.progress.filled_volume == intent.volume
    assert len(sends_of(desk, trade)) == 1
    assert await broken_laws(desk) == []


@pytest.mark.parametrize("late", [False, True], ids=["within its deadline", "after its deadline"])
async def test_an_ended_trade_that_the_books_have_forgotten_is_alerted_and_comes_back_by_a_reset(
    desk: Desk, *, late: bool
) -> None:
    forgotten = desk.intent(submit_by=now() + timedelta(seconds=3 if late else 30))
    async with copied(desk.database) as before:
        await desk.execute(forgotten)
        await desk.settled(forgotten)
        await before.put_back()
    await until(partial(alerted, desk, "unknown_trade"), what="the fill of a forgotten trade to be noticed")

    async def its_turn() -> bool:
        return now() > forgotten.submit_by or not late

    await until(its_turn, what="the deadline")
    await reset_to_the_beginning(desk, forgotten)
    await taken_up(desk, forgotten, OrderState.FILLED)
    again = await desk.settled(forgotten)

    assert again.progress.filled_volume == forgotten.volume
    assert len(sends_of(desk, again)) == 1
    assert "late_fill" not in await alerts(desk)
    assert await broken_laws(desk) == []


async def test_a_new_order_after_the_restore_never_takes_over_the_order_of_a_forgotten_trade(desk: Desk) -> None:
    forgotten, fresh = desk.intent(), desk.intent(volume=lots("0.20"))
    async with copied(desk.database) as before:
        await desk.execute(forgotten)
        lost = await desk.settled(forgotten)
        await before.put_back()

    await until(partial(has_fresh_quotes, desk), what="the feed to go on")
    await desk.execute(fresh)

    trade = await desk.settled(fresh)
    assert (trade.state, trade.progress.filled_volume) == (OrderState.FILLED, fresh.volume)
    assert trade.progress.broker_order_id != lost.progress.broker_order_id
    assert [len(sends_of(desk, each)) for each in (lost, trade)] == [1, 1]
