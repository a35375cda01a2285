"""Totals over the open positions, kept as each of them changes.

Positions of one symbol, side, volume and opening price earn the same profit, so they are valued once and counted.
"""

from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from brokers.simulator.market import Side
from brokers.simulator.records import ZERO, Position


class Alike(NamedTuple):
    """What the profit of a position depends on, beside the market."""

    side: Side
    lots: Decimal
    price_open: Decimal


@dataclass(slots=True)
class Leg:
    """All positions of one symbol and side, as totals; `cost` is the sum of lots times opening price."""

    symbol: str
    side: Side
    lots: Decimal = ZERO
    cost: Decimal = ZERO
    swap: Decimal = ZERO

    def move(self, sign: int, position: Position) -> None:
        self.lots += sign * position.lots
        self.cost += sign * position.lots * position.price_open
        self.swap += sign * position.swap


class Holdings:
    def __init__(self) -> None:
        self._legs: dict[tuple[str, Side], Leg] = {}
        self._alike: dict[str, Counter[Alike]] = {}
        self._moved: dict[str, Counter[Alike]] = {}
        self._counted: dict[int, Position] = {}

    def legs(self) -> list[Leg]:
        return [leg for leg in self._legs.values() if leg.lots > 0]

    def symbols(self) -> list[str]:
        return [name for name, alike in self._alike.items() if alike]

    def alike(self, symbol: str) -> Counter[Alike]:
        """How many positions of each likeness are open."""
        return self._alike.get(symbol, Counter())

    def take_moved(self, symbol: str) -> Counter[Alike]:
        """What came, and with a negative count what went, since the last call."""
        return self._moved.pop(symbol, Counter())

    def recount(self, ticket: int, position: Position | None) -> None:
        """Take out what was counted for this ticket, and count what it is now."""
        before = self._counted.pop(ticket, None)
        for sign, counted in ((-1, before), (1, position)):
            if counted is not None:
                self._move(sign, counted)
        if position is not None:
            self._counted[ticket] = replace(position)

    def _move(self, sign: int, position: Position) -> None:
        key = (position.symbol, position.side)
        self._legs.setdefault(key, Leg(*key)).move(sign, position)
        likeness = Alike(position.side, position.lots, position.price_open)
        for counts in (self._alike, self._moved):
            count = counts.setdefault(position.symbol, Counter())
            count[likeness] += sign
            if not count[likeness]:
                del count[likeness]
