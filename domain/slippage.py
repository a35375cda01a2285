"""How much worse than expected an order was filled, in every measure that people compare it by."""

from dataclasses import dataclass
from decimal import Decimal

from domain.money import ZERO, Price
from domain.orders import Side

HUNDREDTH = Decimal("0.01")
# A percent of a currency's price is a hundred pips and more, so the interesting figures lie far behind the point.
MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True, kw_only=True)
class Slippage:
    """Each negative where the fill was better than expected.

    `stop_percent` is the share of the distance to the stop loss, which is what the order was meant to risk; None
    for an order without one, or with one on the wrong side of the price.
    """

    points: Decimal
    price_percent: Decimal
    stop_percent: Decimal | None


def slippage(side: Side, *, expected: Price, actual: Price, stop_loss: Price | None, point: Decimal) -> Slippage:
    worse = (actual - expected) * side.sign
    risked = ZERO if stop_loss is None else (expected - stop_loss) * side.sign
    return Slippage(
        points=points_worse(side, expected=expected, actual=actual, point=point).quantize(HUNDREDTH),
        price_percent=(worse / expected * 100).quantize(MILLIONTH),
        stop_percent=(worse / risked * 100).quantize(HUNDREDTH) if risked > 0 else None,
    )


def points_worse(side: Side, *, expected: Price, actual: Price, point: Decimal) -> Decimal:
    """How many points `actual` is worse than `expected` for someone who trades `side`; negative is better."""
    return (actual - expected) * side.sign / point
