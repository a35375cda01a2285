"""Faults by name: as JSON on the wire, and as the words of a person."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

from brokers.simulator.faults import Fault


def _name_of(kind: type[Any]) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).lstrip("_")


KINDS: dict[str, type[Fault]] = {_name_of(kind): kind for kind in get_args(Fault)}
NAMES = {kind: name for name, kind in KINDS.items()}


def to_wire(fault: Fault) -> dict[str, Any]:
    values = {name: str(v) if isinstance(v, Decimal) else v for name, v in asdict(fault).items()}
    return {"kind": NAMES[type(fault)], **values}


def from_wire(message: Mapping[str, Any]) -> Fault:
    """Raises ValueError for an unknown kind, wrong fields, or values out of range."""
    values = dict(message)
    name = values.pop("kind", "")
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"no such fault: {name!r}, known are {', '.join(KINDS)}")
    for known in fields(kind):
        if known.name in values:
            values[known.name] = _value(f"{name}.{known.name}", known.type, values[known.name])
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error


def all_from_wire(messages: Iterable[Mapping[str, Any]]) -> list[Fault]:
    return [from_wire(message) for message in messages]


def from_words(words: str) -> Fault:
    """`placed,after_ms=500,parts=2`; raises ValueError as `from_wire` does."""
    name, *pairs = words.split(",")
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{words}: {pair!r} is not of the form field=value")
        values[key] = value
    return from_wire({"kind": name, **values})


def _value(name: str, kind: Any, given: Any) -> Any:
    """What the field holds; text is read, so that a person's words and the wire's are taken alike."""
    value = given
    try:
        if kind is Decimal:
            value = Decimal(given)
        elif kind is int and isinstance(given, str):
            value = int(given)
        elif kind is bool and isinstance(given, str):
            value = {"true": True, "false": False}[given]
    except (ValueError, TypeError, KeyError, InvalidOperation) as error:
        raise ValueError(f"{name}: {given!r} is no {kind.__name__}") from error
    if type(value) is not kind:
        raise ValueError(f"{name}: {given!r} is no {kind.__name__}")
    if not _in_range(name.rpartition(".")[2], value):
        raise ValueError(f"{name}: {given} is out of range")
    return value


def _in_range(field: str, value: Any) -> bool:
    if isinstance(value, Decimal) and not value.is_finite():
        return False
    if field == "ms" or field.endswith("_ms") or field in ("nights", "cut", "ticket"):
        return bool(value >= 0)
    if field == "fraction":
        return bool(0 <= value <= 1)
    if field in ("parts", "lots"):
        return bool(value > 0)
    return field != "side" or value in ("buy", "sell")
