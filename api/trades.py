"""Trades out: lists, one trade, and what happened to it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from api import views
from api.callers import Caller
from api.cursors import CursorQuery, LimitQuery, after_row, event_place, row_place
from api.dependencies import CallerDep, ConnectionsDep
from api.fields import ClientId, Slug, Symbol
from db.trade_views import TradeFilter, list_events, list_trades, read_trade
from domain.errors import TradeNotFound
from domain.orders import OrderState

router = APIRouter(prefix="/api/trading", tags=["trading"])


def scope_of(caller: Caller) -> UUID | None:
    """Whose rows the caller may see: None stands for everybody's."""
    return None if caller.role.sees_all else caller.id


@router.get("/trades", response_model=views.TradePage)
async def trades(  # noqa: PLR0913 - one argument per query parameter
    connected: ConnectionsDep,
    caller: CallerDep,
    *,
    state: OrderState | None = None,
    symbol: Annotated[Symbol | None, Query()] = None,
    account: Annotated[Slug | None, Query()] = None,
    needs_attention: bool | None = None,
    client_order_id: Annotated[ClientId | None, Query()] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Response:
    """Your trades, the newest first; those of all users for risk and admin."""
    wanted = TradeFilter(
        user_id=scope_of(caller),
        state=state,
        symbol=symbol,
        account=account,
        needs_attention=needs_attention,
        client_order_id=client_order_id,
    )
    before = row_place(cursor)
    rows = await connected.books.read(
        lambda connection: list_trades(connection, wanted, limit=limit + 1, before=before)
    )
    last = rows[limit - 1] if len(rows) > limit else None
    page = views.TradePage(
        items=[views.Trade.of_books(row, connected.links) for row in rows[:limit]],
        next_cursor=None if last is None else after_row(last["received_at"], last["id"]),
    )
    return Response(page.model_dump_json(), media_type="application/json")


@router.get("/trades/{trade_id}", response_model=views.Trade)
async def trade(trade_id: UUID, connected: ConnectionsDep, caller: CallerDep) -> Response:
    """One trade. Right after a 202 it may take until the pipeline runs again to be here."""
    row = await connected.books.read(lambda connection: read_trade(connection, trade_id, user_id=scope_of(caller)))
    if row is None:
        raise TradeNotFound(trade_id)
    return Response(views.Trade.of_books(row, connected.links).model_dump_json(), media_type="application/json")


@router.get("/trades/{trade_id}/events", response_model=views.EventPage)
async def trade_events(
    trade_id: UUID,
    connected: ConnectionsDep,
    caller: CallerDep,
    *,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> views.EventPage:
    """What happened to the trade, the oldest first."""
    after = event_place(cursor)
    row = await connected.books.read(lambda connection: read_trade(connection, trade_id, user_id=scope_of(caller)))
    if row is None:
        raise TradeNotFound(trade_id)
    rows = await connected.books.read(
        lambda connection: list_events(connection, trade_id, limit=limit + 1, after=after)
    )
    more = len(rows) > limit
    return views.EventPage(
        items=[views.Event.model_validate(each) for each in rows[:limit]],
        next_cursor=after_row(rows[limit - 1]["id"]) if more else None,
    )
