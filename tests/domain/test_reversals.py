"""Nothing is opened but behind a close that filled in full, in time; and the two trades tell how far it is."""

from datetime import timedelta

import pytest

from domain.orders import FINAL_STATES, OPEN_STATES, OrderState
from domain.reversals import ReversalState, Standing, refusal_to_open, standing
from tests.factories import NOW

LATER = NOW + timedelta(seconds=1)


@pytest.mark.parametrize("close", list(OrderState))
def test_only_a_close_that_filled_in_full_is_followed(close: OrderState) -> None:
    reason = refusal_to_open(close, now=NOW, open_by=LATER)
    assert reason == (None if close is OrderState.FILLED else f"close_{close}")


def test_past_the_deadline_nothing_follows() -> None:
    assert refusal_to_open(OrderState.FILLED, now=LATER, open_by=LATER) == "deadline_passed"


@pytest.mark.parametrize("close", [None, *OPEN_STATES])
def test_it_is_closing_until_the_close_ends_or_the_deadline_passes(close: OrderState | None) -> None:
    assert standing(close=close, opening=None, now=NOW, open_by=LATER).state is ReversalState.CLOSING
    late = standing(close=close, opening=None, now=LATER, open_by=LATER)
    assert late == Standing(state=ReversalState.NOT_OPENED, reason="deadline_passed")


@pytest.mark.parametrize("close", FINAL_STATES - {OrderState.FILLED})
def test_a_close_that_ended_otherwise_is_the_end_of_it(close: OrderState) -> None:
    ended = standing(close=close, opening=None, now=NOW, open_by=LATER)
    assert (ended.decided, ended.state, ended.reason) == (True, ReversalState.NOT_OPENED, f"close_{close}")


def test_it_is_opening_until_the_opening_order_is_decided() -> None:
    def state(opening: OrderState | None) -> ReversalState:
        return standing(close=OrderState.FILLED, opening=opening, now=NOW, open_by=LATER).state

    assert state(None) is state(OrderState.PENDING) is ReversalState.OPENING
    assert {state(opening) for opening in OrderState if opening is not OrderState.PENDING} == {ReversalState.DONE}
