import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.mt5.floats import exact, wire

# Prices, volumes and amounts as MT5 has them: up to eight decimals and fifteen digits.
numbers = st.decimals(min_value=-9_999_999, max_value=9_999_999, places=8)


@given(numbers)
def test_a_number_survives_the_way_to_the_terminal_and_back(number: Decimal) -> None:
    assert exact(wire(number)) == number


@given(st.lists(st.decimals(min_value=0, max_value=1000, places=2), max_size=50))
def test_the_terminals_sums_lose_their_binary_noise(numbers: list[Decimal]) -> None:
    assert exact(math.fsum(wire(number) for number in numbers)) == sum(numbers, Decimal(0))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (1.1234500000000001, "1.12345"),
        (100.0, "100"),
        (1e7, "10000000"),
        (-0.0, "0"),
        (1e-12, "0"),
        (0.000000015, "2E-8"),
        (5, "5"),
    ],
)
def test_one_value_has_one_form(value: float, text: str) -> None:
    assert str(exact(value)) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="for a number"):
        exact(value)
