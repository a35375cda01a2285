"""Where ticks come from: a seeded walk per symbol, or a recording; and the beat between them."""

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from random import Random

from brokers.simulator.recordings import RecordedTick
from brokers.simulator.symbols import Symbol
from brokers.simulator.terminal import Terminal

ALL_SYMBOLS = "*"
QUOTES_META = "quotes"
PULL_BACK = 0.001  # share of the way home per tick, so that a long run stays in a sane range
GAP_SECONDS_MIN = 0.005


class Walk:
    """Prices of one symbol as a function of the seed and the starting point alone."""

    def __init__(self, symbol: Symbol, *, seed: int, start: Decimal) -> None:
        self._symbol = symbol
        self._random = Random(f"{seed}:{symbol.name}")  # noqa: S311 # a price path, not a secret
        self._home = int(symbol.start_price / symbol.point)
        self._points = int(start / symbol.point)

    def next(self) -> tuple[Decimal, Decimal]:
        """The next bid and ask."""
        step = self._random.gauss(0.0, self._symbol.step_points) + (self._home - self._points) * PULL_BACK
        self._points = max(1, self._points + round(step))
        spread = self._random.randint(*self._symbol.spread_points)
        return self._points * self._symbol.point, (self._points + spread) * self._symbol.point


class Feed:
    """Drives the terminal's market; a held symbol gets no ticks but those sent by hand."""

    def __init__(self, terminal: Terminal, *, seed: int, interval_seconds: float) -> None:
        self._terminal = terminal
        self._interval = interval_seconds
        self._seed = seed
        self._walks: dict[str, Walk] = {}
        self._held: set[str] = set()
        self._recording: tuple[str, Sequence[RecordedTick], float] | None = None

    def replay(self, name: str, ticks: Sequence[RecordedTick], *, speed: float) -> None:
        """Feed this symbol from a recording, `speed` times as fast as it was recorded, round and round."""
        self._recording = (name, ticks, speed)

    def hold(self, name: str) -> None:
        self._held.add(name)

    def release(self, name: str) -> None:
        """Let ticks flow again; releasing all releases each."""
        if name == ALL_SYMBOLS:
            self._held.clear()
        self._held.discard(name)

    def open(self) -> None:
        """Give every symbol its first quote, continuing from the last run's prices where known."""
        kept = json.loads(self._terminal.store.get(QUOTES_META) or "{}")
        recorded = self._recording[0] if self._recording is not None else None
        for symbol in self._terminal.symbols.values():
            if symbol.name != recorded:
                start = Decimal(kept.get(symbol.name, symbol.start_price))
                self._walks[symbol.name] = Walk(symbol, seed=self._seed, start=start)
        if self._recording is not None:
            self._terminal.on_tick(self._recording[0], self._recording[1][0].bid, self._recording[1][0].ask)
        for name, walk in self._walks.items():
            self._terminal.on_tick(name, *walk.next())

    async def run(self) -> None:
        """Tick and beat until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            if self._recording is not None:
                group.create_task(self._play(*self._recording))

    def beat(self) -> None:
        """The next tick of every symbol that flows, and what time brings about."""
        for name, walk in self._walks.items():
            if self._flows(name):
                self._terminal.on_tick(name, *walk.next())
        self._terminal.on_beat()

    async def _beat(self) -> None:
        kept_at = 0
        while True:
            await asyncio.sleep(self._interval)
            self.beat()
            now = self._terminal.clock.now()
            if now != kept_at:
                kept_at = now
                self._keep_quotes()

    async def _play(self, name: str, ticks: Sequence[RecordedTick], speed: float) -> None:
        """Long gaps are cut to the tick interval, so that quotes stay fresh; times are those of now."""
        while True:
            for tick in ticks:
                gap = min(tick.gap_seconds / speed, self._interval)
                await asyncio.sleep(max(gap, GAP_SECONDS_MIN))
                if self._flows(name):
                    self._terminal.on_tick(name, tick.bid, tick.ask)

    def _flows(self, name: str) -> bool:
        return name not in self._held and ALL_SYMBOLS not in self._held

    def _keep_quotes(self) -> None:
        """A restart goes on from these prices, so that it makes no gap of its own."""
        quotes = ((name, self._terminal.market.quote(name)) for name in self._terminal.symbols)
        with self._terminal.books.transaction():
            kept = {name: str(quote.bid) for name, quote in quotes if quote is not None}
            self._terminal.store.put(QUOTES_META, json.dumps(kept))
