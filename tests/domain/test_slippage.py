"""Slippage in points, in percent of the price and in percent of the stop are one movement, measured thrice."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import Price
from domain.orders import Side
from domain.slippage import HUNDREDTH, MILLIONTH, slippage
from tests.factories import price
from tests.strategies import POINT, prices


@pytest.mark.parametrize(
    ("side", "actual", "stop", "points", "price_percent", "stop_percent"),
    [
        (Side.BUY, "1.10050", "1.09800", "50.00", "0.045455", "25.00"),
        (Side.BUY, "1.09950", "1.09800", "-50.00", "-0.045455", "-25.00"),
        (Side.SELL, "1.09950", "1.10200", "50.00", "0.045455", "25.00"),
        (Side.SELL, "1.09950", None, "50.00", "0.045455", None),
        # A stop on the wrong side, or at the price itself, risks nothing that could be shared out.
        (Side.BUY, "1.10050", "1.10100", "50.00", "0.045455", None),
        (Side.BUY, "1.10050", "1.10000", "50.00", "0.045455", None),
    ],
)
def test_slippage_in_numbers(  # the columns of the table above
    side: Side, actual: str, stop: str | None, points: str, price_percent: str, stop_percent: str | None
) -> None:
    slipped = slippage(
        side,
        expected=price("1.10000"),
        actual=price(actual),
        stop_loss=None if stop is None else price(stop),
        point=POINT,
    )
    assert (slipped.points, slipped.price_percent) == (Decimal(points), Decimal(price_percent))
    assert slipped.stop_percent == (None if stop_percent is None else Decimal(stop_percent))


@given(st.sampled_from(Side), prices(), prices(), st.integers(1, 50_000))
def test_the_measures_agree_with_each_other(side: Side, expected: Price, actual: Price, distance: int) -> None:
    stop = Price(expected - side.sign * distance * POINT)
    slipped = slippage(side, expected=expected, actual=actual, stop_loss=stop, point=POINT)

    assert slipped.stop_percent is not None
    assert slipped.points == (actual - expected) * side.sign / POINT
    assert abs(slipped.price_percent - slipped.points * POINT / expected * 100) <= MILLIONTH / 2
    assert abs(slipped.stop_percent - slipped.points / distance * 100) <= HUNDREDTH / 2


@given(prices(), prices())
def test_what_one_side_loses_the_other_gains(expected: Price, actual: Price) -> None:
    bought, sold = (slippage(side, expected=expected, actual=actual, stop_loss=None, point=POINT) for side in Side)
    assert (bought.points, bought.price_percent) == (-sold.points, -sold.price_percent)
