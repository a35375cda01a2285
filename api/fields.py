"""The types of fields that requests and answers share. Decimals travel as strings, in both directions."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from domain.money import Price

CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
BIGINT_MAX = 2**63 - 1
INT_MAX = 2**31 - 1

_PLAIN = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,10})?")


def _decimal(value: object) -> Decimal:
    # A JSON number has been a float before we see it, and the digits it lost are gone.
    if not isinstance(value, str):
        raise ValueError('send a decimal as a string, like "0.10"')  # noqa: TRY004 - Pydantic reports ValueError
    if not _PLAIN.fullmatch(value):
        raise ValueError("must be a plain decimal of at most 12 digits before the point and 10 after it")
    return Decimal(value)


def _above_zero(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError("must be above zero")
    return value


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError("must not be below zero")
    return value


_DATED = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]")


def _instant_text(value: object) -> object:
    # A bare number would be taken for seconds since 1970.
    if not isinstance(value, str) or not _DATED.match(value):
        raise ValueError("send an instant as a string, like 2026-01-31T12:00:00Z")
    return value


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


def _one_line(value: str) -> str:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise ValueError("must be one line of text")
    return value


_DECIMAL_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,10})?$"})

PositiveDecimal = Annotated[Decimal, BeforeValidator(_decimal), AfterValidator(_above_zero), _DECIMAL_SCHEMA]
LevelDecimal = Annotated[Decimal, BeforeValidator(_decimal), AfterValidator(_not_negative), _DECIMAL_SCHEMA]
Instant = Annotated[AwareDatetime, BeforeValidator(_instant_text), AfterValidator(_utc)]

# PostgreSQL takes no NUL in text, and no symbol or name has a control character.
Symbol = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500), AfterValidator(_one_line)
]
ClientId = Annotated[str, StringConstraints(pattern=rf"^{CLIENT_ID.pattern}$")]


def decimal_text(value: Decimal) -> str:
    """The one form of a number: 0.10, 0.1 and 0.100 are the same."""
    return format(value.normalize(), "f") if value else "0"


# How an exact amount leaves: all its digits, never an exponent.
DecimalText = Annotated[
    Decimal,
    PlainSerializer(lambda value: format(value, "f"), return_type=str),
    WithJsonSchema({"type": "string", "examples": ["0.10"]}),
]
# A quotient has as many digits as the division gave it; the zeros among them say nothing.
AverageText = Annotated[
    Decimal,
    PlainSerializer(decimal_text, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["1.10005"]}),
]


def as_price(value: Decimal | None) -> Price | None:
    return None if value is None else Price(value)


def body_digest(fields: Mapping[str, object]) -> str:
    """SHA-256 over the fields that are set, each in its one form, whatever their order."""
    texts = {name: _text(value) for name, value in fields.items() if value is not None}
    return sha256(json.dumps(texts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return decimal_text(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
