"""The table of faults in the documentation is that of the code."""

from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from brokers.simulator.fault_wire import KINDS
from brokers.simulator.faults import Aftermath, Event, Fault, Outcome, TransportFault

DOCUMENT = Path(__file__).parents[3] / "docs" / "simulator.md"
KIND_NAMES = ((TransportFault, "answer"), (Outcome, "order"), (Aftermath, "order, later"), (Event, "event"))


def table() -> list[str]:
    return [
        "| fault | fields | befalls | what happens |",
        "|---|---|---|---|",
        *(f"| `{name}` | {_fields(kind)} | {_befalls(kind)} | {_promise(kind)} |" for name, kind in KINDS.items()),
    ]


def test_the_document_lists_every_fault_as_it_is() -> None:
    assert "\n".join(table()) in DOCUMENT.read_text(encoding="utf-8")


def _fields(kind: type[Fault]) -> str:
    return " ".join(f"`{_field(field)}`" for field in fields(kind))


def _field(field: Field[Any]) -> str:
    return field.name if field.default in (MISSING, "") else f"{field.name}={field.default}"


def _befalls(kind: type[Fault]) -> str:
    return next(told for kinds, told in KIND_NAMES if issubclass(kind, kinds))


def _promise(kind: type[Fault]) -> str:
    assert kind.__doc__ is not None
    return kind.__doc__.partition("\n")[0]
