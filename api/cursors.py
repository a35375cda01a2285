"""Cursors: where a list goes on, opaque to the caller, refused when made up."""

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Query

from api.errors import FieldFault, invalid

LimitQuery = Annotated[int, Query(ge=1, le=200, description="How many items at most")]
CursorQuery = Annotated[
    str | None, Query(max_length=256, description="The `next_cursor` of the page before; none for the first")
]


def after_row(*parts: object) -> str:
    """The cursor behind the row whose sort columns are `parts`."""
    text = json.dumps([part.isoformat() if isinstance(part, datetime) else str(part) for part in parts])
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def row_place(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    try:
        at, row_id = _parts(cursor)
        return _instant(at), UUID(row_id)
    except ValueError as error:
        raise _refused() from error


def entry_place(cursor: str | None) -> tuple[datetime, UUID, int] | None:
    if cursor is None:
        return None
    try:
        at, event_id, line = _parts(cursor)
        return _instant(at), UUID(event_id), _number(line, most=2**31 - 1)
    except ValueError as error:
        raise _refused() from error


def event_place(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        (event_id,) = _parts(cursor)
        return _number(event_id, most=2**63 - 1)
    except ValueError as error:
        raise _refused() from error


def _parts(cursor: str) -> list[str]:
    try:
        parts = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, RecursionError) as error:
        raise ValueError("not base64 of JSON") from error
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("not a list of texts")
    return parts


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("an instant without a zone")
    return instant


def _number(text: str, *, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > most:
        raise ValueError("no row number")
    return int(text)


def _refused() -> Exception:
    return invalid([FieldFault(field="cursor", message="is not one that this list gave")])
