"""Bars built from the recorded ticks, as the terminal's charts show them: by bid."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.clock import DAY_SECONDS
from brokers.simulator.market import Quote
from brokers.simulator.symbols import Symbol

HOUR_FLAG = 0x4000
FIRST_SUNDAY = 3 * DAY_SECONDS  # 4 January 1970; weeks begin on Sunday
TIMEFRAMES = frozenset(value for name, value in vars(mt5).items() if name.startswith("TIMEFRAME_"))


@dataclass(slots=True)
class Bar:
    time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    tick_volume: int
    spread: int

    def row(self) -> list[float | int]:
        prices = (float(price) for price in (self.open, self.high, self.low, self.close))
        return [self.time, *prices, self.tick_volume, self.spread, 0]


def bar_start(seconds: int, timeframe: int) -> int:
    """When the bar that holds this second begins."""
    if timeframe == mt5.TIMEFRAME_MN1:
        day = datetime.fromtimestamp(seconds, UTC).day
        return seconds - seconds % DAY_SECONDS - (day - 1) * DAY_SECONDS
    if timeframe == mt5.TIMEFRAME_W1:
        return seconds - (seconds - FIRST_SUNDAY) % (7 * DAY_SECONDS)
    length = (timeframe - HOUR_FLAG) * 3600 if timeframe >= HOUR_FLAG else timeframe * 60
    return seconds - seconds % length


def bars_of(ticks: Iterable[Quote], symbol: Symbol, timeframe: int) -> list[Bar]:
    """Oldest first; a span without ticks has no bar."""
    bars: list[Bar] = []
    for tick in ticks:
        start = bar_start(tick.msc // 1000, timeframe)
        spread = int((tick.ask - tick.bid) / symbol.point)
        if not bars or bars[-1].time != start:
            bars.append(Bar(start, tick.bid, tick.bid, tick.bid, tick.bid, 0, spread))
        bar = bars[-1]
        bar.high, bar.low, bar.close = max(bar.high, tick.bid), min(bar.low, tick.bid), tick.bid
        bar.tick_volume += 1
        bar.spread = min(bar.spread, spread)
    return bars
