"""Reservations: a claim on the limits, held before an order leaves.

1. A reservation resolves exactly once: held → settled | released | expired.
2. Any second end is a `ReservationConflict` whose code names both, the same one twice included.
3. While a send is unresolved its reservation stays held.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from domain.errors import ReservationConflict
from domain.money import CENT, ZERO, Lots, round_against_us


class ReservationState(StrEnum):
    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


RESOLVED_STATES = frozenset(ReservationState) - {ReservationState.HELD}


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What a reservation claims: lots, and loss, notional and margin in the account's currency."""

    volume: Lots
    loss: Decimal
    notional: Decimal
    margin: Decimal

    def __sub__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            volume=Lots(self.volume - other.volume),
            loss=self.loss - other.loss,
            notional=self.notional - other.notional,
            margin=self.margin - other.margin,
        )

    def share(self, volume: Lots) -> "Amounts":
        """The part of the claim that `volume` lots of it carry, rounded up to the cent."""
        assert ZERO <= volume <= self.volume, "a share lies within its claim"
        if volume == self.volume:
            return self

        def part(amount: Decimal) -> Decimal:
            return min(amount, round_against_us(amount * volume / self.volume, CENT))

        return Amounts(volume=volume, loss=part(self.loss), notional=part(self.notional), margin=part(self.margin))


NOTHING = Amounts(volume=Lots(ZERO), loss=ZERO, notional=ZERO, margin=ZERO)


def resolve(state: ReservationState, into: ReservationState) -> None:
    """Raise ReservationConflict unless `state` may end in `into`: only what is held may, once."""
    assert into in RESOLVED_STATES, "a reservation resolves into a resolved state"
    if state is not ReservationState.HELD:
        raise ReservationConflict(state, into)
