"""Sizes and prices that the broker takes, decided exactly at the edge."""

from decimal import Decimal

import pytest
from hypothesis import given

from domain.money import Lots
from tests.factories import lots, make_instrument
from tests.strategies import volumes

EURUSD = make_instrument(volume_min=lots("0.05"), volume_max=lots("50"), volume_step=lots("0.05"))


@pytest.mark.parametrize("volume", ["0.05", "0.10", "50"])
def test_a_volume_on_the_step_and_within_the_bounds_is_taken(volume: str) -> None:
    assert EURUSD.volume_fault(lots(volume)) is None


@pytest.mark.parametrize(
    ("volume", "fault"),
    [
        ("0.04", "at least 0.05"),
        ("50.05", "at most 50"),
        ("0.07", "multiple of 0.05"),
        ("0.051", "multiple of 0.05"),
    ],
)
def test_a_volume_outside_says_which_rule_it_breaks(volume: str, fault: str) -> None:
    assert fault in (EURUSD.volume_fault(lots(volume)) or "")


@given(volumes())
def test_any_volume_is_either_faulted_or_a_whole_number_of_steps_within_bounds(volume: Lots) -> None:
    fits = Decimal("0.05") <= volume <= 50 and volume % Decimal("0.05") == 0
    assert (EURUSD.volume_fault(volume) is None) == fits


def test_a_price_is_positive_and_on_the_tick() -> None:
    assert EURUSD.price_fault(Decimal("1.10001")) is None
    assert "above zero" in (EURUSD.price_fault(Decimal(0)) or "")
    assert "multiple of 0.00001" in (EURUSD.price_fault(Decimal("1.100015")) or "")
