"""Reservations that are made together are those that would be made one after the other."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import create_async_engine

from activities.reserving import Reserved, ReserveTrade, ReservingTogether
from db.risk_context import read_risk_context
from domain.errors import TradeNotFound
from domain.limits import LimitName
from domain.money import Lots
from domain.orders import OrderState, Side
from domain.reservations import Amounts
from domain.risk_context import RiskContext
from tests.db.books import Books
from tests.factories import lots, make_position

VALUE = Decimal("11021.00")
_CLAIM = "SELECT volume, loss, notional, margin FROM risk_reservations WHERE trade_id = :id"


async def together(books: Books, ids: list[UUID]) -> list[Reserved | BaseException]:
    engine = create_async_engine(books.database.urls["pipeline"], pool_size=4)
    try:
        reserving = books.reserving(engine, ReservingTogether)
        steps = [reserving.reserve(ReserveTrade(trade_id=each, last=True)) for each in ids]
        return await asyncio.gather(*steps, return_exceptions=True)
    finally:
        await engine.dispose()


def states(answers: list[Reserved | BaseException]) -> list[OrderState]:
    return [answer.progress.state for answer in answers if isinstance(answer, Reserved)]


async def test_a_limit_is_met_to_the_cent_by_those_that_come_first(books: Books) -> None:
    await books.limit(LimitName.POSITION_SIZE, 20 * VALUE)
    trades = [await books.accepted() for _ in range(64)]

    decided = states(await together(books, [trade.id for trade in trades]))

    assert decided == [OrderState.PENDING] * 20 + [OrderState.DENIED] * 44
    assert await books.scalar("SELECT held_notional FROM exposure_totals") == 20 * VALUE
    await books.check_sums()


async def test_two_processes_at_once_overstep_nothing(books: Books) -> None:
    await books.limit(LimitName.POSITION_SIZE, 20 * VALUE)
    trades = [await books.accepted() for _ in range(60)]

    halves = await asyncio.gather(
        together(books, [trade.id for trade in trades[:30]]), together(books, [trade.id for trade in trades[30:]])
    )

    assert sum(half.count(OrderState.PENDING) for half in map(states, halves)) == 20
    await books.check_sums()


async def test_a_limit_that_counts_orders_counts_those_of_the_same_batch(books: Books) -> None:
    await books.run("UPDATE risk_limits SET value = 3 WHERE name = 'open_orders'")
    trades = [await books.accepted() for _ in range(8)]
    decided = states(await together(books, [trade.id for trade in trades]))
    assert decided == [OrderState.PENDING] * 3 + [OrderState.DENIED] * 5


async def test_the_same_order_twice_in_one_batch_is_found(books: Books) -> None:
    await books.run("UPDATE risk_limits SET value = 60 WHERE name = 'duplicate_window'")
    trades = [await books.accepted() for _ in range(4)]
    other = await books.accepted(volume=lots("0.20"))
    decided = states(await together(books, [*(trade.id for trade in trades), other.id]))
    assert decided == [OrderState.PENDING, *[OrderState.DENIED] * 3, OrderState.PENDING]


async def test_closes_of_one_batch_never_hold_more_than_the_position(books: Books) -> None:
    await books.show_positions(make_position())
    closes = [await books.accepted(side=Side.SELL, position_id=7001, volume=lots("0.04")) for _ in range(4)]
    decided = states(await together(books, [close.id for close in closes]))
    assert decided == [OrderState.PENDING, OrderState.PENDING, OrderState.DENIED, OrderState.DENIED]


async def test_a_trade_that_is_not_there_keeps_no_other_from_its_answer(books: Books) -> None:
    trades = [await books.accepted() for _ in range(3)]
    answers = await together(books, [trades[0].id, trades[1].id, UUID(int=404), trades[2].id])

    assert isinstance(answers[2], TradeNotFound)
    assert states(answers) == [OrderState.PENDING] * 3
    assert await books.scalar("SELECT count(*) FROM risk_reservations") == 3


async def test_one_whose_caller_gave_up_is_decided_once_and_found_by_its_repeat(books: Books) -> None:
    trade = await books.accepted()
    engine = create_async_engine(books.database.urls["pipeline"], pool_size=2)
    try:
        reserving = books.reserving(engine, ReservingTogether)
        step = ReserveTrade(trade_id=trade.id, last=True)
        given_up = asyncio.create_task(reserving.reserve(step))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        again = await reserving.reserve(step)
    finally:
        await engine.dispose()
    assert again.progress.state is OrderState.PENDING
    assert await books.scalar("SELECT count(*) FROM risk_reservations") == 1


ORDERS = st.fixed_dictionaries(
    {
        "volume": st.integers(1, 90).map(lambda hundredths: Lots(Decimal(hundredths) / 100)),
        "side": st.sampled_from(Side),
        "stop_loss": st.none(),
    }
)


async def context_of(books: Books, **order: Any) -> RiskContext:
    async with books.database.engine("pipeline").connect() as connection:
        return await read_risk_context(
            connection, books.intent(**order), now=books.now, data_age_max=timedelta(seconds=5)
        )


async def check_carried_on(books: Books, orders: list[dict[str, Any]]) -> None:
    """Facts that are carried from order to order are those that would be read anew."""
    carried = await context_of(books)
    for order in orders:
        trade = await books.reserved(**order)
        assert trade.state is OrderState.PENDING
        (claim,) = await books.rows(_CLAIM, id=trade.id)
        carried = carried.after(Amounts(**claim))
    anew = await context_of(books)
    for mine, theirs in zip(carried.usages, anew.usages, strict=True):
        # Every order that was received counts as a message, held or not.
        assert {**vars(mine), "messages": 0} == {**vars(theirs), "messages": 0}


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=st.lists(ORDERS, min_size=1, max_size=4))
async def test_facts_are_carried_on_as_they_would_be_read_on_a_hedging_account(
    books: Books, orders: list[dict[str, Any]]
) -> None:
    await check_carried_on(books, orders)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=st.lists(ORDERS, min_size=1, max_size=4))
async def test_facts_are_carried_on_as_they_would_be_read_on_a_netting_account(
    netting_books: Books, orders: list[dict[str, Any]]
) -> None:
    await check_carried_on(netting_books, orders)
