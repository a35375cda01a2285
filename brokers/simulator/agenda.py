"""What the broker has still to do: durable, so that a restart forgets nothing that it owes."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from brokers.simulator.store import Store


class Duty(StrEnum):
    """REQUEST carries out an order request, COMMISSION books a charge, RECONNECT restores the broker's link,
    SWITCH_BACK the terminal's own account.
    """

    REQUEST = "request"
    COMMISSION = "commission"
    RECONNECT = "reconnect"
    SWITCH_BACK = "switch_back"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    number: int
    due_utc_msc: int
    duty: Duty
    terms: dict[str, Any]


class Agenda:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: list[Entry] = []
        self.load()

    def load(self) -> None:
        self._entries = [
            Entry(number=number, due_utc_msc=due_utc_msc, duty=Duty(duty), terms=json.loads(terms))
            for number, due_utc_msc, duty, terms in self._store.duties()
        ]

    def add(self, duty: Duty, *, due_utc_msc: int, terms: dict[str, Any]) -> None:
        number = self._store.add_duty(due_utc_msc=due_utc_msc, duty=duty, terms=json.dumps(terms))
        self._entries.append(Entry(number=number, due_utc_msc=due_utc_msc, duty=duty, terms=terms))

    def take_due(self, now_utc_msc: int) -> list[Entry]:
        """What is due, the earliest first, taken off the agenda."""
        due = [entry for entry in self._entries if entry.due_utc_msc <= now_utc_msc]
        for entry in due:
            self._entries.remove(entry)
            self._store.drop_duty(entry.number)
        return sorted(due, key=lambda entry: (entry.due_utc_msc, entry.number))

    def next_due_utc_msc(self) -> int | None:
        return min((entry.due_utc_msc for entry in self._entries), default=None)
