"""Every rounding says its direction."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import CENT, Lots, Money, floor_to_step, is_multiple, round_against_us, round_to_nearest
from tests.factories import EUR, USD, lots
from tests.strategies import STEP, volumes

amounts = st.decimals(-10_000, 10_000, places=6)


@given(amounts)
def test_rounding_against_us_never_holds_less_and_at_most_a_cent_more(amount: Decimal) -> None:
    held = round_against_us(amount)
    assert abs(amount) <= abs(held) < abs(amount) + CENT


@given(amounts)
def test_rounding_to_the_nearest_is_off_by_half_a_cent_at_most(amount: Decimal) -> None:
    assert abs(round_to_nearest(amount) - amount) <= CENT / 2


def test_halves_go_to_the_even_cent() -> None:
    assert [round_to_nearest(Decimal(text)) for text in ("0.005", "0.015", "0.025")] == [
        Decimal("0.00"),
        Decimal("0.02"),
        Decimal("0.02"),
    ]


@given(st.decimals(0, 100, places=5), volumes(steps_max=50))
def test_a_volume_is_floored_to_a_multiple_that_does_not_exceed_it(volume: Decimal, step: Lots) -> None:
    floored = floor_to_step(Lots(volume), step)
    assert is_multiple(floored, step)
    assert volume - step < floored <= volume


def test_nothing_is_a_multiple_of_a_step_of_zero() -> None:
    assert not is_multiple(Decimal(1), Decimal(0))
    assert is_multiple(lots("0.30"), STEP)


def test_money_adds_within_one_currency_alone() -> None:
    assert Money(Decimal(2), USD) + -Money(Decimal(3), USD) == Money(Decimal(-1), USD)
    with pytest.raises(AssertionError, match="within one currency"):
        Money(Decimal(1), USD) + Money(Decimal(1), EUR)
