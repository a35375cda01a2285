"""The life of a trade is one table, and its final states follow from it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import IllegalTransition
from domain.money import Lots, Price
from domain.orders import (
    FINAL_STATES,
    LATE_FILLS,
    OPEN_STATES,
    TRANSITIONS,
    OrderEvent,
    OrderState,
    OrderType,
    Side,
    fill_event,
    next_state,
)
from domain.slippage import points_worse
from tests.factories import make_intent, price
from tests.strategies import POINT, prices, volumes


def test_final_states_are_those_that_only_a_late_fill_leaves() -> None:
    assert {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.EXPIRED,
        OrderState.REJECTED,
        OrderState.DENIED,
    } == FINAL_STATES
    assert set(OrderState) - FINAL_STATES == OPEN_STATES


def test_every_state_has_its_moves() -> None:
    assert set(TRANSITIONS) == set(OrderState)
    assert all(TRANSITIONS.values())


def test_unresolved_can_become_all_that_evidence_may_show_but_never_denied_or_pending() -> None:
    assert set(TRANSITIONS[OrderState.UNRESOLVED].values()) == set(OrderState) - {
        OrderState.UNRESOLVED,
        OrderState.PENDING,
        OrderState.DENIED,
    }


def test_only_a_pending_trade_can_lose_its_outcome_or_be_denied() -> None:
    for event in (OrderEvent.OUTCOME_LOST, OrderEvent.DENIED):
        assert [state for state in OrderState if event in TRANSITIONS[state]] == [OrderState.PENDING]


@pytest.mark.parametrize(("state", "event"), list(itertools.product(OrderState, OrderEvent)))
def test_a_move_outside_the_table_is_refused(state: OrderState, event: OrderEvent) -> None:
    if event in TRANSITIONS[state]:
        assert next_state(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(IllegalTransition, match=f"{state} has no transition for {event}"):
            next_state(state, event)


@given(st.sampled_from(OrderState), st.lists(st.sampled_from(OrderEvent), max_size=12))
def test_a_final_trade_stays_final_whatever_happens(state: OrderState, events: list[OrderEvent]) -> None:
    final = state in FINAL_STATES
    for event in events:
        if event in TRANSITIONS[state]:
            assert not (final and event not in LATE_FILLS)
            state = next_state(state, event)
            assert not final or state in FINAL_STATES
            final = state in FINAL_STATES


@given(st.sampled_from(OrderState), volumes(), volumes())
def test_a_fill_is_never_refused(state: OrderState, filled: Lots, volume: Lots) -> None:
    event = fill_event(state, filled=filled, volume=volume)

    if state is OrderState.FILLED and filled < volume:
        # A filled trade has no unfilled rest, so a fill in part cannot be met again.
        assert event is OrderEvent.LATE_FILL_IN_PART
        return
    assert (event in LATE_FILLS) == (state in FINAL_STATES)
    after = next_state(state, event)
    assert (after is OrderState.FILLED) == (filled >= volume)


def test_a_late_fill_in_part_never_shows_a_trade_as_rejected_or_denied() -> None:
    for state in FINAL_STATES - {OrderState.FILLED}:
        assert next_state(state, OrderEvent.LATE_FILL_IN_PART) not in {OrderState.REJECTED, OrderState.DENIED}


def test_only_an_order_that_names_its_position_reduces() -> None:
    assert make_intent(position_id=7001).reducing
    resting = make_intent(position_id=7001, order_type=OrderType.LIMIT, price=price("1.09"))
    assert not resting.reducing
    assert not make_intent(side=Side.SELL).reducing


def test_an_intent_reads_as_a_sentence() -> None:
    assert str(make_intent()) == "BUY 0.10 EURUSD @ market"
    limit = make_intent(order_type=OrderType.LIMIT, price=price("1.09"), side=Side.SELL)
    assert str(limit) == "SELL 0.10 EURUSD @ limit 1.09"
    assert str(make_intent(side=Side.SELL, position_id=7)) == "SELL 0.10 EURUSD @ market closing 7"


@given(st.sampled_from(Side), prices(), prices())
def test_what_is_worse_for_a_buyer_is_better_for_a_seller(side: Side, expected: Price, actual: Price) -> None:
    mine = points_worse(side, expected=expected, actual=actual, point=POINT)
    theirs = points_worse(side.opposite, expected=expected, actual=actual, point=POINT)
    assert mine == -theirs


def test_paying_more_is_worse_for_a_buyer() -> None:
    assert points_worse(Side.BUY, expected=price("1.10000"), actual=price("1.10003"), point=POINT) == 3
