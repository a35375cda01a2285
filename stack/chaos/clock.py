"""Time that stands still until it is moved; what was put on its agenda happens on the way."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from brokers.mt5.timing import Timing

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US = 1_000_000


@dataclass(order=True, slots=True)
class Entry:
    due_us: int
    order: int
    act: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class VirtualClock:
    def __init__(self, start: datetime) -> None:
        self._us = (start - EPOCH) // timedelta(microseconds=1)
        self._agenda: list[Entry] = []
        self._orders = itertools.count()

    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._us)

    def seconds(self) -> float:
        """Since the Unix epoch."""
        return self._us / SECOND_US

    def timing(self) -> Timing:
        return Timing(time=self.seconds, monotonic=self.seconds, sleep=self.advance)

    def call_later(self, seconds: float, act: Callable[[], object], /) -> Entry:
        entry = Entry(self._us + max(0, round(seconds * SECOND_US)), next(self._orders), act)
        heapq.heappush(self._agenda, entry)
        return entry

    def advance(self, seconds: float) -> None:
        """Move on, and let everything due by then happen at its own instant."""
        end_us = self._us + max(0, round(seconds * SECOND_US))
        while self._agenda and self._agenda[0].due_us <= end_us:
            self._happen()
        # What happened may itself have taken time.
        self._us = max(self._us, end_us)

    def advance_to_next(self) -> bool:
        """Move to the next thing on the agenda and let it happen; False if there is none."""
        while self._agenda and self._agenda[0].cancelled:
            heapq.heappop(self._agenda)
        if not self._agenda:
            return False
        self._happen()
        return True

    def _happen(self) -> None:
        entry = heapq.heappop(self._agenda)
        if not entry.cancelled:
            self._us = max(self._us, entry.due_us)
            entry.act()
