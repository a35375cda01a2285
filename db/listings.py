"""What users read besides their trades: positions, the ledger, and how the system stands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from db.jsons import loads
from db.tables import broker_accounts, fills, ledger_accounts, ledger_entries

# A position belongs to the user whose order opened it; the broker numbers it by that order. A user sees those and
# the ones that no order of ours opened, on the accounts that the user trades on.
_POSITIONS = text("""
    WITH accounts AS (
        SELECT a.id, a.slug, a.currency FROM broker_accounts a
        WHERE CAST(:user_id AS uuid) IS NULL OR EXISTS (
            SELECT FROM account_users au WHERE au.account_id = a.id AND au.user_id = :user_id)
    )
    SELECT json_build_object(
        'positions', (SELECT coalesce(json_agg(v ORDER BY v.account, v.opened_at, v.position_id), '[]') FROM (
            SELECT p.*, a.slug AS account, a.currency, t.id AS trade_id, t.user_id,
                   p.profit + p.swap AS floating, coalesce(m.realised, 0) AS realised,
                   coalesce(o.openers, '[]') AS openers,
                   CASE WHEN q.symbol IS NOT NULL THEN row_to_json(q) END AS quote
            FROM broker_positions p
            JOIN accounts a ON a.id = p.account_id
            LEFT JOIN trade_ledger t ON t.account_id = p.account_id AND t.broker_order_id = p.position_id
            LEFT JOIN LATERAL (
                SELECT l.*, CASE p.side WHEN 'buy' THEN l.bid ELSE l.ask END AS close_price
                FROM quotes l WHERE l.account_id = p.account_id AND l.symbol = p.symbol
            ) q ON true
            LEFT JOIN LATERAL (
                SELECT sum(x.profit + x.commission + x.swap + x.fee) AS realised
                FROM fills f JOIN fill_allocations x ON x.fill_id = f.id
                WHERE f.account_id = p.account_id AND f.position_id = p.position_id
            ) m ON true
            LEFT JOIN LATERAL (
                SELECT json_agg(g ORDER BY g.opened_at, g.trade_id) AS openers
                FROM (
                    SELECT x.trade_id, w.user_id, u.username, w.client_order_id, sum(s.volume) AS volume,
                           min(f.executed_at) FILTER (WHERE x.role = 'open') AS opened_at
                    FROM fills f JOIN fill_allocations x ON x.fill_id = f.id
                    CROSS JOIN LATERAL (
                        SELECT CASE x.role WHEN 'open' THEN x.volume WHEN 'close' THEN -x.volume END AS volume
                    ) s
                    LEFT JOIN trade_ledger w ON w.id = x.trade_id
                    LEFT JOIN users u ON u.id = w.user_id
                    WHERE f.account_id = p.account_id AND f.position_id = p.position_id
                    GROUP BY x.trade_id, w.user_id, u.username, w.client_order_id
                    HAVING sum(s.volume) > 0
                ) g
            ) o ON true
            WHERE CAST(:user_id AS uuid) IS NULL OR coalesce(t.user_id, :user_id) = :user_id) v),
        'accounts', (SELECT coalesce(json_agg(v ORDER BY v.account), '[]') FROM (
            SELECT a.slug AS account, a.currency, s.*
            FROM accounts a LEFT JOIN LATERAL (
                SELECT * FROM account_snapshots s WHERE s.account_id = a.id ORDER BY s.minute_at DESC LIMIT 1
            ) s ON true) v)
    )::text
""")

_ENTRIES = (
    ledger_entries.join(ledger_accounts, ledger_accounts.c.id == ledger_entries.c.ledger_account_id)
    .join(broker_accounts, broker_accounts.c.id == ledger_accounts.c.account_id)
    .outerjoin(fills, fills.c.id == ledger_entries.c.fill_id)
)
_PLACE = (ledger_entries.c.posted_at, ledger_entries.c.event_id, ledger_entries.c.line)

_STATUS = text("""
    WITH accounts AS (
        SELECT a.* FROM broker_accounts a
        WHERE CAST(:user_id AS uuid) IS NULL OR EXISTS (
            SELECT FROM account_users au WHERE au.account_id = a.id AND au.user_id = :user_id)
    ), mine AS (
        SELECT t.state, t.needs_attention FROM trade_ledger t
        WHERE CAST(:user_id AS uuid) IS NULL OR t.user_id = :user_id
    )
    SELECT json_build_object(
        'trades', (SELECT coalesce(json_object_agg(c.state, c.count), '{}')
                   FROM (SELECT state, count(*) FROM mine GROUP BY state) c),
        'stuck', (SELECT count(*) FROM mine WHERE needs_attention),
        'controls', (SELECT coalesce(json_agg(c ORDER BY c.scope, c.scope_id), '[]') FROM trading_control c
                     WHERE c.scope IN ('all', 'symbol') OR CAST(:user_id AS uuid) IS NULL
                        OR (c.scope = 'user' AND c.scope_id = CAST(:user_id AS text))
                        OR (c.scope = 'account' AND c.scope_id IN (SELECT slug FROM accounts))),
        'accounts', (SELECT coalesce(json_agg(v ORDER BY v.account), '[]') FROM (
            SELECT a.slug AS account, a.currency, a.enabled, a.margin_mode,
                   a.lease_number, a.lease_holder, a.lease_taken_at, a.lease_expires_at,
                   row_to_json(s) AS snapshot,
                   (SELECT coalesce(json_agg(c ORDER BY c.began_at, c.kind), '[]') FROM account_conditions c
                    WHERE c.account_id = a.id) AS conditions,
                   (SELECT coalesce(json_agg(c ORDER BY c.noticed_at, c.symbol, c.term), '[]')
                    FROM contract_changes c WHERE c.account_id = a.id) AS contract_changes,
                   (SELECT coalesce(json_agg(q ORDER BY q.symbol), '[]') FROM quotes q
                    WHERE q.account_id = a.id) AS quotes
            FROM accounts a LEFT JOIN LATERAL (
                SELECT * FROM account_snapshots s WHERE s.account_id = a.id ORDER BY s.minute_at DESC LIMIT 1
            ) s ON true) v)
    )::text
""")


@dataclass(frozen=True, kw_only=True)
class EntryFilter:
    """Which entries; None leaves a field open. `user_id` None shows those of all users."""

    user_id: UUID | None
    account: str | None = None
    code: str | None = None
    trade_id: UUID | None = None


async def list_positions(connection: AsyncConnection, *, user_id: UUID | None) -> dict[str, Any]:
    """`positions`, each with the newest quote, and `accounts`, each with its newest snapshot."""
    answer: dict[str, Any] = loads(await connection.scalar(_POSITIONS, {"user_id": user_id}))
    return answer


async def list_entries(
    connection: AsyncConnection, wanted: EntryFilter, *, limit: int, before: tuple[datetime, UUID, int] | None
) -> list[dict[str, Any]]:
    """The newest entries first, from behind `before`, the instant, event and line of the last one seen."""
    query = (
        select(
            *ledger_entries.c,
            broker_accounts.c.slug.label("account"),
            ledger_accounts.c.code,
            ledger_accounts.c.user_id,
            fills.c.ticket,
        )
        .select_from(_ENTRIES)
        .where(*_conditions(wanted))
        .order_by(*(column.desc() for column in _PLACE))
        .limit(limit)
    )
    if before is not None:
        query = query.where(tuple_(*_PLACE) < before)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def sum_entries(connection: AsyncConnection, wanted: EntryFilter) -> list[dict[str, Any]]:
    """What all entries of the filter sum to, per account, code and currency."""
    keys = (broker_accounts.c.slug.label("account"), ledger_accounts.c.code, ledger_entries.c.currency)
    query = (
        select(*keys, func.sum(ledger_entries.c.amount).label("amount"))
        .select_from(_ENTRIES)
        .where(*_conditions(wanted))
        .group_by(*keys)
        .order_by(*keys)
    )
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def read_status(connection: AsyncConnection, *, user_id: UUID | None) -> dict[str, Any]:
    answer: dict[str, Any] = loads(await connection.scalar(_STATUS, {"user_id": user_id}))
    return answer


def _conditions(wanted: EntryFilter) -> list[ColumnElement[bool]]:
    conditions = [
        column == value
        for column, value in ((broker_accounts.c.slug, wanted.account), (ledger_accounts.c.code, wanted.code))
        if value is not None
    ]
    if wanted.user_id is not None or wanted.trade_id is not None:
        conditions.append(ledger_entries.c.event_id.in_(_events_of(wanted)))
    return conditions


def _events_of(wanted: EntryFilter) -> Select[tuple[UUID]]:
    """The events with a line of the user and the trade; their other lines, cash above all, belong to nobody."""
    lines = ledger_entries.alias()
    owners = ledger_accounts.alias()
    query = select(lines.c.event_id).join(owners, owners.c.id == lines.c.ledger_account_id)
    if wanted.user_id is not None:
        query = query.where(owners.c.user_id == wanted.user_id)
    if wanted.trade_id is not None:
        query = query.where(lines.c.trade_id == wanted.trade_id)
    return query
