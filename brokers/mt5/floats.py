"""Where binary floats end: the terminal's numbers become exact, and exact ones become the terminal's."""

import math
from decimal import ROUND_HALF_EVEN, Decimal

# No MT5 price, volume or amount has more decimals; what lies below is noise of the terminal's own arithmetic.
EIGHTH = Decimal("0.00000001")
ONE = Decimal(1)


def exact(value: float) -> Decimal:
    """The number meant by a terminal's float: 15 significant digits, rounded half to even at eight decimals.

    Raises ValueError for NaN and infinity.
    """
    if not math.isfinite(value):
        raise ValueError(f"the terminal gave {value} for a number")
    number = Decimal(f"{value:.15g}").quantize(EIGHTH, ROUND_HALF_EVEN)
    # Trailing zeros go, but 100 stays 100 instead of 1E+2, and a zero has no sign.
    return number.quantize(ONE) + 0 if number == number.to_integral_value() else number.normalize()


def wire(value: Decimal) -> float:
    """The float that `exact` turns back into `value`: true for up to 15 significant digits, 8 of them decimals."""
    return float(value)
