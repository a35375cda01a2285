"""Turns at the terminal: one at a time, the more urgent lane first, in order of arrival within a lane."""

import asyncio
import heapq
import itertools
from enum import IntEnum


class Lane(IntEnum):
    STOP = 0
    SEND = 1
    READ = 2


class Turns:
    def __init__(self) -> None:
        self.holder: Lane | None = None
        self._waiting: list[tuple[Lane, int, asyncio.Future[None]]] = []
        self._arrivals = itertools.count()

    async def enter(self, lane: Lane) -> None:
        if self.holder is None:
            self.holder = lane
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (lane, next(self._arrivals), turn))
        try:
            await turn
        except asyncio.CancelledError:
            # The turn may have come at the very moment of the cancellation; it must not be lost.
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Hand the turn to the next who still waits."""
        self.holder = None
        while self._waiting:
            lane, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self.holder = lane
                turn.set_result(None)
                return
