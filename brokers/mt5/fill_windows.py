"""Long histories in pieces: no single read of deals may keep the terminal from a send."""

from typing import Any

from brokers.mt5 import mapping
from brokers.mt5.clock import ServerClock
from brokers.mt5.mapping import Struct
from domain.fills import Fill

# About ten milliseconds of the terminal and as much of reading.
DEALS_MOST = 500


class Windows:
    """Divides a window of time until each piece is small; pieces share bounds, so that no deal falls between.

    Use: `next` gives the arguments of a read until all is read, `put` takes its answer.
    """

    def __init__(self, since: int, until: int) -> None:
        self._pending = [(since, until)]
        self._deals: dict[int, Struct] = {}

    @property
    def deals(self) -> list[Struct]:
        return list(self._deals.values())

    def next(self) -> dict[str, int] | None:
        if not self._pending:
            return None
        since, until = self._pending[-1]
        return {"since": since, "until": until, "most": DEALS_MOST}

    def put(self, answer: Struct) -> None:
        since, until = self._pending.pop()
        if "deals" in answer:
            self._deals |= {deal["ticket"]: deal for deal in answer["deals"]}
            return
        middle = (since + until) // 2
        assert since < middle < until, "a divided window is shorter"
        self._pending += [(middle, until), (since, middle)]


class FillCache:
    """Deals hardly ever change, so the fill of an unchanged deal is made once."""

    def __init__(self, clock: ServerClock) -> None:
        self._clock = clock
        self._known: dict[int, tuple[Any, Fill]] = {}

    def fills(self, deals: list[Struct]) -> tuple[Fill, ...]:
        """In order of execution."""
        known, self._known = self._known, {}
        for deal in deals:
            before = known.get(deal["ticket"])
            if before is None or before[0] != deal:
                before = (deal, mapping.fill(deal, clock=self._clock))
            self._known[deal["ticket"]] = before
        fills = (fill for _, fill in self._known.values())
        return tuple(sorted(fills, key=lambda fill: (fill.executed_at, fill.ticket)))
