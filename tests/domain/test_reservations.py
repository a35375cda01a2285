"""A reservation resolves once, and a share of it never frees more than it should."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ReservationConflict
from domain.money import CENT, ZERO, Lots
from domain.reservations import NOTHING, RESOLVED_STATES, Amounts, ReservationState, resolve
from tests.strategies import STEP, amounts

MONEY = ("loss", "notional", "margin")


@given(amounts(), st.data())
def test_a_share_lies_within_its_claim_and_is_never_less_than_its_part(
    claim: Amounts, data: st.DataObject
) -> None:
    volume = Lots(data.draw(st.integers(0, int(claim.volume / STEP))) * STEP)
    share = claim.share(volume)

    assert share.volume == volume
    for column in MONEY:
        whole, part = getattr(claim, column), getattr(share, column)
        # Compared as products: quotients of decimals would be rounded themselves.
        assert whole * volume <= part * claim.volume <= whole * claim.volume
        assert part * claim.volume < whole * volume + CENT * claim.volume


@given(amounts())
def test_the_whole_share_is_the_claim_and_none_of_it_is_nothing(claim: Amounts) -> None:
    assert claim.share(claim.volume) == claim
    assert claim.share(Lots(ZERO)) == NOTHING
    assert claim - claim == NOTHING


@given(amounts(), st.data())
def test_a_larger_volume_never_has_the_smaller_share(claim: Amounts, data: st.DataObject) -> None:
    steps = int(claim.volume / STEP)
    low, high = sorted(data.draw(st.tuples(st.integers(0, steps), st.integers(0, steps))))
    less, more = claim.share(Lots(low * STEP)), claim.share(Lots(high * STEP))

    assert all(getattr(less, column) <= getattr(more, column) for column in MONEY)


def test_a_share_beyond_the_claim_is_a_broken_promise() -> None:
    claim = Amounts(volume=Lots(STEP), loss=CENT, notional=CENT, margin=CENT)
    with pytest.raises(AssertionError, match="within its claim"):
        claim.share(Lots(2 * STEP))


@pytest.mark.parametrize("into", sorted(RESOLVED_STATES))
def test_a_held_reservation_resolves_and_the_same_again_is_no_change(into: ReservationState) -> None:
    resolve(ReservationState.HELD, into)
    with pytest.raises(ReservationConflict, match="again"):
        resolve(into, into)


@pytest.mark.parametrize(("state", "into"), list(itertools.permutations(sorted(RESOLVED_STATES), 2)))
def test_a_resolved_reservation_refuses_another_end_and_says_which(
    state: ReservationState, into: ReservationState
) -> None:
    with pytest.raises(ReservationConflict, match=f"already {state} and cannot be {into}"):
        resolve(state, into)


def test_nothing_resolves_back_to_held() -> None:
    with pytest.raises(AssertionError, match="into a resolved state"):
        resolve(ReservationState.HELD, ReservationState.HELD)
