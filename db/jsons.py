"""JSON of the books: decimals, ids and instants as strings, so that nothing exact becomes a float."""

import json
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID


def dumps(value: Any) -> str:
    return json.dumps(value, default=_encode, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """`value` as a JSONB column takes it: made of dicts, lists and strings alone."""
    return json.loads(dumps(value))


def loads(value: str) -> Any:
    """Parse JSON that PostgreSQL made; its numerics stay exact."""
    return json.loads(value, parse_float=Decimal)


def _encode(value: object) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form in the books")
