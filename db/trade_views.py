"""Trades as their users see them: each row with its reservation and its fills, in one JSON value.

The newest revision of a fill is found by its unique key, not through the view `current_fills`, which would read
every fill of the books to show those of one trade.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from db.jsons import loads
from db.tables import broker_accounts, events, trade_ledger
from domain.orders import OrderState

_TRADES = text("""
    SELECT coalesce(json_agg(v ORDER BY v.received_at DESC, v.id DESC), '[]')::text
    FROM (
        SELECT t.*, a.slug AS account, a.currency,
               (SELECT row_to_json(r) FROM risk_reservations r WHERE r.trade_id = t.id) AS reservation,
               (SELECT coalesce(json_agg(f ORDER BY f.executed_at, f.ticket), '[]') FROM fills f
                WHERE f.trade_id = t.id AND NOT EXISTS (
                    SELECT FROM fills n
                    WHERE n.account_id = f.account_id AND n.ticket = f.ticket AND n.revision > f.revision)
               ) AS fills
        FROM trade_ledger t JOIN broker_accounts a ON a.id = t.account_id
        WHERE t.id = ANY(CAST(:ids AS uuid[])) AND (CAST(:user_id AS uuid) IS NULL OR t.user_id = :user_id)
    ) v
""")

_COMMAND = text("""
    SELECT t.state, t.workflow_id, c.kind, c.body_hash, c.outcome, c.reason
    FROM trade_ledger t LEFT JOIN trade_commands c ON c.trade_id = t.id AND c.key = :key
    WHERE t.id = :trade_id AND (CAST(:user_id AS uuid) IS NULL OR t.user_id = :user_id)
""")


@dataclass(frozen=True, kw_only=True)
class TradeFilter:
    """Which trades; None leaves a field open. `user_id` None shows those of all users."""

    user_id: UUID | None
    state: OrderState | None = None
    symbol: str | None = None
    account: str | None = None
    needs_attention: bool | None = None
    client_order_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class KnownCommand:
    """A trade's state, and what is known of one command to it; `kind` is None if nothing is."""

    state: OrderState
    workflow_id: str
    kind: str | None
    body_hash: str | None
    outcome: str | None
    reason: str | None


async def read_trade(
    connection: AsyncConnection, trade_id: UUID, *, user_id: UUID | None
) -> dict[str, Any] | None:
    """The trade, None if there is none that this user may see."""
    rows = await _trades(connection, [trade_id], user_id=user_id)
    return rows[0] if rows else None


async def list_trades(
    connection: AsyncConnection, wanted: TradeFilter, *, limit: int, before: tuple[datetime, UUID] | None
) -> list[dict[str, Any]]:
    """The newest trades first, from behind `before`, the instant of receipt and id of the last one seen."""
    query = select(trade_ledger.c.id).order_by(trade_ledger.c.received_at.desc(), trade_ledger.c.id.desc())
    if wanted.account is not None:
        query = query.join(broker_accounts, broker_accounts.c.id == trade_ledger.c.account_id)
        query = query.where(broker_accounts.c.slug == wanted.account)
    for column, value in (
        (trade_ledger.c.user_id, wanted.user_id),
        (trade_ledger.c.state, wanted.state),
        (trade_ledger.c.symbol, wanted.symbol),
        (trade_ledger.c.client_order_id, wanted.client_order_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.needs_attention is not None:
        query = query.where(trade_ledger.c.needs_attention.is_(wanted.needs_attention))
    if before is not None:
        query = query.where(tuple_(trade_ledger.c.received_at, trade_ledger.c.id) < before)
    ids = list(await connection.scalars(query.limit(limit)))
    return await _trades(connection, ids, user_id=wanted.user_id) if ids else []


async def list_events(
    connection: AsyncConnection, trade_id: UUID, *, limit: int, after: int
) -> list[dict[str, Any]]:
    """What happened to the trade, oldest first, from behind the event `after`."""
    query = (
        select(events.c.id, events.c.at, events.c.kind, events.c.payload)
        .where(events.c.trade_id == trade_id, events.c.id > after)
        .order_by(events.c.id)
        .limit(limit)
    )
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def read_command(
    connection: AsyncConnection, trade_id: UUID, *, key: str, user_id: UUID | None
) -> KnownCommand | None:
    """None if there is no such trade that this user may touch."""
    answer = await connection.execute(_COMMAND, {"trade_id": trade_id, "key": key, "user_id": user_id})
    row = answer.mappings().one_or_none()
    if row is None:
        return None
    return KnownCommand(**{**row, "state": OrderState(row["state"])})


async def _trades(connection: AsyncConnection, ids: list[UUID], *, user_id: UUID | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = loads(await connection.scalar(_TRADES, {"ids": ids, "user_id": user_id}))
    return rows
