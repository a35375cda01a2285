"""Exact money, prices and volumes: every rounding says its direction, and floats never get this far."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Decimal
from typing import NewType

Lots = NewType("Lots", Decimal)
Price = NewType("Price", Decimal)
Currency = NewType("Currency", str)

ZERO = Decimal(0)
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Money:
    """An amount of one currency; arithmetic between currencies is an error, never a conversion."""

    amount: Decimal
    currency: Currency

    def __add__(self, other: "Money") -> "Money":
        assert self.currency == other.currency, "money adds within one currency"
        return Money(self.amount + other.amount, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount, self.currency)


def floor_to_step(volume: Lots, step: Lots) -> Lots:
    return Lots((volume / step).to_integral_value(ROUND_DOWN) * step)


def is_multiple(value: Decimal, step: Decimal) -> bool:
    return step > 0 and value % step == 0


def round_to_nearest(amount: Decimal, unit: Decimal = CENT) -> Decimal:
    """Round half to even: for amounts that are booked, so that no side gains over many."""
    return amount.quantize(unit, ROUND_HALF_EVEN)


def round_down(amount: Decimal, unit: Decimal = CENT) -> Decimal:
    """Round towards zero: for amounts that are given away against a limit."""
    return amount.quantize(unit, ROUND_DOWN)


def round_against_us(amount: Decimal, unit: Decimal = CENT) -> Decimal:
    """Round away from zero: for amounts held against a limit, so that a limit is never exceeded by rounding."""
    return amount.quantize(unit, ROUND_UP)
