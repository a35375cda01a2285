"""The account's recent history, kept beside the terminal so that a send need not read days of it anew.

1. The kept records are complete: their number equals the terminal's own count over the same window, or the whole
   window is read again.
2. Only presence is answered from here. Absence as evidence is never concluded from kept records.
3. A terminal that has just connected may show positions whose orders its history lacks; until it was seen to be in
   step, the positions have to be looked at too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Struct = dict[str, Any]
Ask = Callable[..., Any]

# A window that began this long before the one asked for holds too much; it is begun anew.
STALE_SECONDS = 3 * 86_400


@dataclass(kw_only=True)
class Shelf:
    """The records of one kind, by ticket, from `since` on, and grouped by each of `group_fields`."""

    total_call: str
    get_call: str
    time_field: str
    group_fields: tuple[str, ...]
    since: int = 0
    newest: int = 0
    records: dict[int, Struct] = field(default_factory=dict)
    groups: dict[tuple[str, int], dict[int, Struct]] = field(default_factory=dict)

    def refresh(self, ask: Ask, *, since: int, until: int) -> None:
        if not self.records or not since - STALE_SECONDS <= self.since <= since:
            self._read_all(ask, since=since, until=until)
            return
        count = ask(self.total_call, self.since, until)
        if count == len(self.records):
            return
        # Bounds are whole seconds and inclusive, so the newest record's own second is read again.
        self._keep(ask(self.get_call, max(self.since, self.newest), until))
        # More than were counted have come since; fewer means that something older has appeared.
        if len(self.records) < count:
            self._read_all(ask, since=self.since, until=until)

    def where(self, group_field: str, value: int) -> list[Struct]:
        return list(self.groups.get((group_field, value), {}).values())

    def _read_all(self, ask: Ask, *, since: int, until: int) -> None:
        self.since, self.newest = since, 0
        self.records, self.groups = {}, {}
        self._keep(ask(self.get_call, since, until))

    def _keep(self, records: list[Struct]) -> None:
        for record in records:
            ticket = record["ticket"]
            self.records[ticket] = record
            self.newest = max(self.newest, record[self.time_field])
            for name in self.group_fields:
                self.groups.setdefault((name, record[name]), {})[ticket] = record


def deal_shelf() -> Shelf:
    return Shelf(
        total_call="history_deals_total",
        get_call="history_deals_get",
        time_field="time",
        group_fields=("magic", "order"),
    )


def order_shelf() -> Shelf:
    return Shelf(
        total_call="history_orders_total",
        get_call="history_orders_get",
        time_field="time_done",
        group_fields=("magic",),
    )


@dataclass
class History:
    deals: Shelf = field(default_factory=deal_shelf)
    orders: Shelf = field(default_factory=order_shelf)
    in_step: bool = False

    def forget(self) -> None:
        """Another attachment may show another history."""
        self.deals, self.orders, self.in_step = deal_shelf(), order_shelf(), False

    def compare(self, positions: list[Struct]) -> None:
        """Note whether history has caught up with these positions, each named for the order that opened it."""
        self.in_step = all(
            position["identifier"] in self.orders.records
            for position in positions
            if position["time"] >= self.orders.since
        )
