"""What the broker's books mean to a trade, whatever it was believed to be before."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import ZERO, Lots
from domain.orders import (
    FINAL_STATES,
    LATE_FILLS,
    OPEN_STATES,
    BrokerOrderState,
    OrderEvent,
    OrderState,
    next_state,
)
from domain.trades import event_from_books
from tests.factories import lots, make_order
from tests.strategies import volumes

NONE, HALF, FULL = Lots(ZERO), lots("0.05"), lots("0.10")
ENDED = (BrokerOrderState.CANCELLED, BrokerOrderState.EXPIRED, BrokerOrderState.REJECTED)


def seen(
    state: OrderState,
    order: BrokerOrderState | None,
    *,
    filled: Lots = NONE,
    cancelled: Lots = NONE,
    booked: Lots = NONE,
) -> OrderEvent | None:
    record = None if order is None else make_order(state=order)
    return event_from_books(state, order=record, filled=filled, cancelled=cancelled, booked=booked, volume=FULL)


# What is booked and what the state says belong together: a filled trade is full, a rejected one empty.
BOOKED = {
    OrderState.PARTIALLY_FILLED: volumes(steps_max=9),
    OrderState.CANCELLED: volumes(steps_min=0, steps_max=9),
    OrderState.EXPIRED: volumes(steps_min=0, steps_max=9),
    OrderState.FILLED: volumes(steps_min=10),
}


@given(st.sampled_from(OrderState), st.none() | st.sampled_from(BrokerOrderState), st.data())
def test_whatever_the_books_show_the_trade_can_take_it(
    state: OrderState, order: BrokerOrderState | None, data: st.DataObject
) -> None:
    booked = data.draw(BOOKED.get(state, st.just(NONE)))
    for filled in (booked, Lots(booked + Decimal("0.01")), Lots(booked + FULL)):
        event = seen(state, order, filled=filled, booked=booked)
        if event is not None:
            next_state(state, event)


@pytest.mark.parametrize("state", sorted(OPEN_STATES))
def test_new_fills_move_the_trade_before_the_order_does(state: OrderState) -> None:
    for order in (None, *BrokerOrderState):
        assert seen(state, order, filled=HALF) is OrderEvent.FILLED_IN_PART
        assert seen(state, order, filled=FULL) is OrderEvent.FILLED_IN_FULL


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_a_fill_of_a_final_trade_is_late(state: OrderState) -> None:
    assert seen(state, None, filled=HALF) in LATE_FILLS
    assert seen(state, None, filled=FULL) is OrderEvent.LATE_FILL_IN_FULL


def test_a_filled_order_moves_nothing_until_its_fills_are_booked() -> None:
    assert seen(OrderState.WORKING, BrokerOrderState.FILLED) is None
    assert seen(OrderState.PARTIALLY_FILLED, BrokerOrderState.FILLED, filled=HALF, booked=HALF) is None


@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.UNRESOLVED])
@pytest.mark.parametrize("order", [BrokerOrderState.WORKING, BrokerOrderState.FILLED])
def test_an_order_that_the_broker_has_was_placed(state: OrderState, order: BrokerOrderState) -> None:
    assert seen(state, order) is OrderEvent.PLACED


def test_a_working_order_that_works_is_no_news() -> None:
    assert seen(OrderState.WORKING, BrokerOrderState.WORKING) is None
    assert seen(OrderState.WORKING, None) is None


def test_an_order_whose_fills_the_broker_cancelled_again_ends_with_what_is_left() -> None:
    filled = BrokerOrderState.FILLED
    assert seen(OrderState.WORKING, filled, cancelled=FULL) is OrderEvent.CANCELLED
    assert seen(OrderState.UNRESOLVED, filled, cancelled=FULL) is OrderEvent.CANCELLED
    assert (
        seen(OrderState.PARTIALLY_FILLED, filled, filled=HALF, booked=HALF, cancelled=HALF) is OrderEvent.CANCELLED
    )
    assert seen(OrderState.WORKING, filled, cancelled=HALF) is None, "the other half may still be booked"
    assert seen(OrderState.WORKING, BrokerOrderState.WORKING, cancelled=FULL) is None, "more may follow"
    assert seen(OrderState.FILLED, filled, cancelled=FULL) is None


@pytest.mark.parametrize("order", ENDED)
def test_an_ended_order_ends_the_trade(order: BrokerOrderState) -> None:
    assert seen(OrderState.WORKING, order) == OrderEvent(order.value)


def test_a_part_filled_order_that_ends_is_never_rejected() -> None:
    assert (
        seen(OrderState.PARTIALLY_FILLED, BrokerOrderState.REJECTED, filled=HALF, booked=HALF)
        is OrderEvent.CANCELLED
    )


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_an_ended_order_is_no_news_to_a_final_trade(state: OrderState) -> None:
    for order in ENDED:
        assert seen(state, order) is None


@pytest.mark.parametrize("order", [BrokerOrderState.CANCELLED, BrokerOrderState.EXPIRED])
def test_an_ended_order_waits_for_the_deals_of_what_it_executed(order: BrokerOrderState) -> None:
    ended = make_order(state=order, remaining=HALF)

    def told(state: OrderState, *, filled: Lots = NONE, cancelled: Lots = NONE) -> OrderEvent | None:
        return event_from_books(state, order=ended, filled=filled, cancelled=cancelled, booked=filled, volume=FULL)

    assert told(OrderState.WORKING) is None
    assert told(OrderState.UNRESOLVED) is OrderEvent.PLACED
    assert told(OrderState.PARTIALLY_FILLED, filled=HALF) is OrderEvent(order.value)
    assert told(OrderState.WORKING, cancelled=HALF) is OrderEvent(order.value)
