"""The ledger: every entry, and what each account of it sums to."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.cursors import CursorQuery, LimitQuery, after_row, entry_place
from api.dependencies import CallerDep, ConnectionsDep
from api.fields import DecimalText, Slug, Symbol
from api.trades import scope_of
from api.views import View
from db.listings import EntryFilter, list_entries, sum_entries

router = APIRouter(prefix="/api/trading", tags=["trading"])


class Entry(View):
    """One line of an event; the lines of one event sum to zero per currency. `ticket` is the broker's record."""

    event_id: UUID
    line: int
    account: str
    code: str
    user_id: UUID | None
    currency: str
    amount: DecimalText
    trade_id: UUID | None
    ticket: int | None
    reverses_event_id: UUID | None
    description: str
    posted_at: datetime


class Sum(View):
    account: str
    code: str
    currency: str
    amount: DecimalText


class Ledger(View):
    """`sums` are over all entries of the filter, not over the page."""

    items: list[Entry]
    sums: list[Sum]
    next_cursor: str | None


@router.get("/ledger")
async def ledger(
    connected: ConnectionsDep,
    caller: CallerDep,
    *,
    account: Annotated[Slug | None, Query()] = None,
    code: Annotated[Symbol | None, Query(description="A ledger account, like `broker_cash`")] = None,
    trade_id: UUID | None = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Ledger:
    """Your entries, the newest first; those of all users for risk and admin."""
    wanted = EntryFilter(user_id=scope_of(caller), account=account, code=code, trade_id=trade_id)
    before = entry_place(cursor)
    rows = await connected.books.read(
        lambda connection: list_entries(connection, wanted, limit=limit + 1, before=before)
    )
    sums = await connected.books.read(lambda connection: sum_entries(connection, wanted))
    last = rows[limit - 1] if len(rows) > limit else None
    return Ledger(
        items=[Entry.model_validate(row) for row in rows[:limit]],
        sums=[Sum.model_validate(row) for row in sums],
        next_cursor=None if last is None else after_row(last["posted_at"], last["event_id"], last["line"]),
    )
