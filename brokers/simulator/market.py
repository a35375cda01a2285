"""Quotes and depth: the newest price of each symbol and what may still be dealt at it.

1. A tick renews the whole depth of its symbol; what was taken stays taken until then.
2. Level k of a side lies k points behind the touch and holds `level_lots`.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from brokers.simulator.symbols import Symbol

TICKS_KEPT = 20_000
DAY_MSC = 86_400_000
TICK_FLAG_BID = 2
TICK_FLAG_ASK = 4


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


@dataclass(frozen=True, slots=True)
class Quote:
    """One tick; `msc` is on the server clock."""

    msc: int
    bid: Decimal
    ask: Decimal
    flags: int

    def touch(self, side: Side) -> Decimal:
        """The price at which this side opens: BUY at ask, SELL at bid."""
        return self.ask if side is Side.BUY else self.bid


@dataclass(frozen=True, slots=True)
class Slice:
    """An amount dealt at one price."""

    price: Decimal
    lots: Decimal


@dataclass(slots=True)
class DayRange:
    """Extremes of one server day."""

    day: int
    bid_low: Decimal
    bid_high: Decimal
    ask_low: Decimal
    ask_high: Decimal


class Market:
    def __init__(self) -> None:
        self.ranges: dict[str, DayRange] = {}
        self._ticks: dict[str, deque[Quote]] = {}
        self._taken: dict[tuple[str, Side], Decimal] = {}
        self._unsettled: set[str] = set()  # symbols whose next tick may go back in time

    def publish(self, symbol: Symbol, bid: Decimal, ask: Decimal, msc: int) -> Quote:
        """Make this the newest quote; raises ValueError on a crossed or non-positive price."""
        if not 0 < bid <= ask:
            raise ValueError(f"bid {bid} and ask {ask} are no quote")
        last = self.quote(symbol.name)
        flags = TICK_FLAG_BID | TICK_FLAG_ASK
        if last is not None:
            changed = TICK_FLAG_BID * (bid != last.bid) | TICK_FLAG_ASK * (ask != last.ask)
            flags = changed or flags
            if symbol.name not in self._unsettled:
                msc = max(msc, last.msc)  # a wall clock that steps back must not unsort the ticks
        self._unsettled.discard(symbol.name)
        quote = Quote(msc, symbol.price(bid), symbol.price(ask), flags)
        self._ticks.setdefault(symbol.name, deque(maxlen=TICKS_KEPT)).append(quote)
        self._taken[symbol.name, Side.BUY] = self._taken[symbol.name, Side.SELL] = Decimal(0)
        self._widen_range(symbol.name, quote)
        return quote

    def clock_stepped(self) -> None:
        """Let the next tick of each symbol go back in time: the server's clock was set anew."""
        self._unsettled.update(self._ticks)

    def quote(self, name: str) -> Quote | None:
        ticks = self._ticks.get(name)
        return ticks[-1] if ticks else None

    def ticks(self, name: str) -> tuple[Quote, ...]:
        return tuple(self._ticks.get(name, ()))

    def depth(self, symbol: Symbol, side: Side) -> Iterator[Slice]:
        """What an order of this side can still take, best price first."""
        quote = self.quote(symbol.name)
        if quote is None:
            return
        taken = self._taken[symbol.name, side]
        for level in range(symbol.levels):
            left = min(symbol.level_lots, (level + 1) * symbol.level_lots - taken)
            if left > 0:
                yield Slice(quote.touch(side) + side.sign * level * symbol.point, left)

    def available(self, symbol: Symbol, side: Side, *, worst: Decimal | None = None) -> Decimal:
        slices = (s for s in self.depth(symbol, side) if _within(s.price, worst, side))
        return sum((s.lots for s in slices), Decimal(0))

    def take(self, symbol: Symbol, side: Side, lots: Decimal, *, worst: Decimal | None = None) -> list[Slice]:
        """Deal up to `lots` no worse than `worst`; may return less, or nothing."""
        slices: list[Slice] = []
        left = lots
        for offer in self.depth(symbol, side):
            if left <= 0 or not _within(offer.price, worst, side):
                break
            slices.append(Slice(offer.price, min(left, offer.lots)))
            left -= slices[-1].lots
        if slices:
            self._taken[symbol.name, side] += lots - left
        return slices

    def take_all(self, symbol: Symbol, side: Side, lots: Decimal) -> list[Slice]:
        """Deal exactly `lots`, beyond the book at its last level: the broker's own exits always end."""
        slices = self.take(symbol, side, lots)
        left = lots - sum((s.lots for s in slices), Decimal(0))
        if left > 0:
            quote = self.quote(symbol.name)
            assert quote is not None, "nothing is dealt without a quote"
            slices.append(Slice(quote.touch(side) + side.sign * (symbol.levels - 1) * symbol.point, left))
        return slices

    def _widen_range(self, name: str, quote: Quote) -> None:
        seen = self.ranges.get(name)
        if seen is None or seen.day != quote.msc // DAY_MSC:
            self.ranges[name] = DayRange(quote.msc // DAY_MSC, quote.bid, quote.bid, quote.ask, quote.ask)
            return
        seen.bid_low, seen.bid_high = min(seen.bid_low, quote.bid), max(seen.bid_high, quote.bid)
        seen.ask_low, seen.ask_high = min(seen.ask_low, quote.ask), max(seen.ask_high, quote.ask)


def _within(price: Decimal, worst: Decimal | None, side: Side) -> bool:
    return worst is None or (price <= worst if side is Side.BUY else price >= worst)
