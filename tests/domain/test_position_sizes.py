"""A size loses at most what may be lost, and a step more would lose more."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.exposure import loss_between
from domain.money import Lots
from domain.orders import Side
from domain.position_sizes import PositionSize, share_of, volume_for
from tests.factories import lots, make_instrument, price

ENTRY = price("1.10000")


def sized(risk: str, *, points: int = 200, side: Side = Side.BUY, rate: str = "1") -> PositionSize:
    stop_loss = ENTRY - side.sign * points * Decimal("0.00001")
    return volume_for(
        make_instrument(),
        side,
        risk=Decimal(risk),
        entry=ENTRY,
        stop_loss=price(str(stop_loss)),
        rate=Decimal(rate),
    )


@pytest.mark.parametrize("side", list(Side))
def test_a_hundred_dollars_at_twenty_pips_are_half_a_lot(side: Side) -> None:
    assert sized("100", side=side) == PositionSize(
        volume=lots("0.50"), loss=Decimal("100.00"), least_loss=Decimal("2.00"), capped=False
    )


def test_a_size_is_rounded_down_to_the_step() -> None:
    assert sized("101.99").volume == lots("0.50")


def test_a_risk_below_the_least_volume_gives_none_and_says_what_that_would_lose() -> None:
    small = sized("1.99")
    assert (small.volume, small.loss, small.least_loss) == (0, 0, Decimal("2.00"))


def test_the_brokers_largest_volume_caps_a_size() -> None:
    large = sized("1000000")
    assert (large.volume, large.capped) == (lots("100"), True)


@given(
    cents=st.integers(1, 10_000_000),
    points=st.integers(1, 50_000),
    side=st.sampled_from(Side),
    rate=st.decimals("0.0001", "200", places=4),
)
def test_the_loss_stays_within_the_risk_and_a_step_more_would_not(
    cents: int, points: int, side: Side, rate: Decimal
) -> None:
    risk, card = Decimal(cents) / 100, make_instrument()
    size = sized(str(risk), points=points, side=side, rate=str(rate))

    def loss(volume: Decimal) -> Decimal:
        stop_loss = price(str(ENTRY - side.sign * points * Decimal("0.00001")))
        return loss_between(card, side, volume=Lots(volume), entry=ENTRY, exit_price=stop_loss, rate=rate)

    assert size.loss == loss(size.volume) <= risk
    more = max(size.volume + card.volume_step, card.volume_min)
    assert size.capped or more > card.volume_max or loss(more) > risk


def test_a_share_of_the_equity_is_never_a_cent_more() -> None:
    assert share_of(Decimal("1000.99"), percent=Decimal(1)) == Decimal("10.00")
    assert share_of(Decimal(1000), percent=Decimal("0.5")) == Decimal("5.00")
