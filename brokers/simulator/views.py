"""What the terminal shows of the broker's books, and from when on.

1. The books are never touched: a record is left out of an answer, never changed.
2. A record's age is taken on the server's clock; one that lies ahead of it, after a clock stepped back, is shown.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from brokers.simulator.clock import ServerClock
from brokers.simulator.faults import Aftermath, HistoryLag, ListGap
from brokers.simulator.records import Deal, Order, Position

Record = TypeVar("Record", Order, Deal)


class Views:
    def __init__(self, clock: ServerClock) -> None:
        self._clock = clock
        self._gaps: dict[int, int] = {}  # by order ticket, in ms
        self._lags: dict[int, int] = {}
        self._answer_gap_ms = 0
        self._answer_lag_ms = 0
        self._synced_from_utc_msc = 0

    def hold(self, order: Order, aftermath: Iterable[Aftermath]) -> None:
        """Show this order's records late."""
        for fault in aftermath:
            if isinstance(fault, ListGap):
                self._gaps[order.ticket] = fault.ms
            elif isinstance(fault, HistoryLag):
                self._lags[order.ticket] = fault.ms

    @contextmanager
    def narrowed(self, aftermath: Iterable[Aftermath]) -> Iterator[None]:
        """Leave out of the answer at hand whatever is newer than the faults say."""
        for fault in aftermath:
            if isinstance(fault, ListGap):
                self._answer_gap_ms = fault.ms
            elif isinstance(fault, HistoryLag):
                self._answer_lag_ms = fault.ms
        try:
            yield
        finally:
            self._answer_gap_ms = self._answer_lag_ms = 0

    def forget_history(self, *, for_ms: int) -> None:
        """No history until it is synchronised again."""
        self._synced_from_utc_msc = self._clock.utc_msc() + for_ms

    @property
    def history_is_whole(self) -> bool:
        return not self._lags and not self._answer_lag_ms and self._synced

    @property
    def lists_are_whole(self) -> bool:
        return not self._gaps and not self._answer_gap_ms

    def orders(self, orders: Sequence[Order]) -> list[Order]:
        return [order for order in orders if not self._in_gap(order.ticket, order.setup_msc)]

    def positions(self, positions: Sequence[Position]) -> list[Position]:
        return [position for position in positions if not self._in_gap(position.ticket, position.time_msc)]

    def history(self, records: Sequence[Record]) -> list[Record]:
        if not self._synced:
            return []
        return [record for record in records if not self._lagging(record)]

    @property
    def _synced(self) -> bool:
        return self._clock.utc_msc() >= self._synced_from_utc_msc

    def _in_gap(self, order_ticket: int, since_msc: int) -> bool:
        if self.lists_are_whole:
            return False
        return self._younger(since_msc, max(self._gaps.get(order_ticket, 0), self._answer_gap_ms))

    def _lagging(self, record: Order | Deal) -> bool:
        if isinstance(record, Order):
            ticket, since_msc = record.ticket, record.done_msc
        else:
            ticket, since_msc = record.order_ticket, record.time_msc
        return self._younger(since_msc, max(self._lags.get(ticket, 0), self._answer_lag_ms))

    def _younger(self, since_msc: int, ms: int) -> bool:
        return 0 <= self._clock.now_msc() - since_msc < ms
