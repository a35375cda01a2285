"""The facts that the gates decide on, read in one statement under the locks of the reservation."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.instruments import instrument_from_json
from db.jsons import loads
from db.risk_rows import limit_of, pairs_of, position_of, quote_of
from db.risk_usages import usages_of
from db.watch import change_of
from domain.controls import Control, ControlScope, ControlState
from domain.exposure import conversion_rate
from domain.limits import Repeats
from domain.money import ZERO, Currency, Lots
from domain.orders import OrderIntent
from domain.positions import Holding, MarginMode
from domain.risk_context import AccountState, Condition, RiskContext
from domain.watch import FindingKind

# A position belongs to the user whose order opened it; the broker numbers a position by that order. Until our
# books know that number, a hedging account still shows whose it is by the order's magic.
_FACTS = text("""
    WITH me AS (
        SELECT a.id, a.slug, a.currency, a.margin_mode, a.enabled, a.leverage, a.day_zone, a.unreconciled_since,
               (CAST(:now AS timestamptz) AT TIME ZONE a.day_zone)::date AS day, u.enabled AS user_enabled
        FROM broker_accounts a
        JOIN account_users au ON au.account_id = a.id AND au.user_id = :user_id
        JOIN users u ON u.id = au.user_id
        WHERE a.id = :account_id
    ), positions AS (
        SELECT p.*, t.user_id, coalesce(m.price, p.price_open) AS mark
        FROM broker_positions p
        CROSS JOIN me
        LEFT JOIN LATERAL (
            SELECT t.user_id FROM trade_ledger t WHERE t.account_id = p.account_id
            AND (t.broker_order_id = p.position_id OR (t.magic = p.magic AND me.margin_mode = 'hedging'))
            ORDER BY (t.broker_order_id = p.position_id) DESC NULLS LAST LIMIT 1
        ) t ON true
        LEFT JOIN position_marks m
            ON m.account_id = p.account_id AND m.position_id = p.position_id AND m.day = me.day
        WHERE p.account_id = :account_id
    )
    SELECT json_build_object(
        'account', (SELECT row_to_json(me) FROM me),
        'snapshot', (SELECT row_to_json(s) FROM account_snapshots s WHERE s.account_id = :account_id
                     ORDER BY minute_at DESC LIMIT 1),
        'instruments', (SELECT coalesce(json_agg(i), '[]') FROM instruments i WHERE i.account_id = :account_id
                        AND (i.symbol = :symbol OR i.symbol IN (SELECT symbol FROM positions))),
        'quotes', (SELECT coalesce(json_agg(q), '[]') FROM (
                       SELECT q.*, i.currency_base, i.currency_profit FROM quotes q JOIN instruments i
                       ON i.account_id = q.account_id AND i.symbol = q.symbol WHERE q.account_id = :account_id) q),
        'conditions', (SELECT coalesce(json_agg(c ORDER BY c.began_at, c.kind), '[]') FROM account_conditions c
                       WHERE c.account_id = :account_id),
        'contract_changes', (SELECT coalesce(json_agg(c ORDER BY c.term), '[]') FROM contract_changes c
                             WHERE c.account_id = :account_id AND c.symbol = :symbol),
        'controls', (SELECT coalesce(json_agg(c), '[]') FROM trading_control c, me
                     WHERE (c.scope, c.scope_id) IN (('all', ''), ('account', me.slug),
                         ('user', CAST(:user_id AS text)), ('symbol', CAST(:symbol AS text)))),
        'limits', (SELECT coalesce(json_agg(l), '[]') FROM (
                       SELECT DISTINCT ON (user_id, name) * FROM risk_limits
                       WHERE account_id = :account_id AND (user_id = :user_id OR user_id IS NULL)
                       AND superseded_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
                       ORDER BY user_id, name, expires_at NULLS LAST) l),
        'totals', (SELECT coalesce(json_agg(t), '[]') FROM exposure_totals t WHERE t.account_id = :account_id),
        'symbol_held', (SELECT coalesce(json_agg(h), '[]') FROM (
                            SELECT user_id, sum(notional) AS notional FROM risk_reservations
                            WHERE account_id = :account_id AND symbol = :symbol AND counted GROUP BY user_id) h),
        'held_lots', (SELECT coalesce(json_agg(h), '[]') FROM (
                          SELECT p.position_id, sum(r.volume) AS volume
                          FROM risk_reservations r
                          CROSS JOIN LATERAL (VALUES (r.position_id), (r.close_by_position_id)) AS p (position_id)
                          WHERE r.account_id = :account_id AND r.counted
                              AND p.position_id IN (:position_id, :close_by_position_id)
                          GROUP BY p.position_id) h),
        'realised', (SELECT coalesce(json_agg(d), '[]') FROM (
                         SELECT s.user_id, s.profit + s.commission + s.swap + s.fee AS amount
                         FROM user_daily_stats s, me WHERE s.account_id = :account_id AND s.day = me.day) d),
        'external_realised', (
            SELECT coalesce(sum(x.profit + x.commission + x.swap + x.fee), 0)
            FROM me JOIN fills f ON f.account_id = me.id AND f.kind = 'trade'
                AND f.executed_at >= me.day::timestamp AT TIME ZONE me.day_zone
            JOIN fill_allocations x ON x.fill_id = f.id AND x.owner = 'external'),
        'held_orders', (SELECT coalesce(json_agg(h), '[]') FROM (
                            SELECT user_id, count(*) AS count FROM risk_reservations
                            WHERE account_id = :account_id AND counted AND state = 'held' AND position_id IS NULL
                            GROUP BY user_id) h),
        'opening', (SELECT coalesce(json_agg(o), '[]') FROM (
                        SELECT user_id, symbol FROM risk_reservations
                        WHERE account_id = :account_id AND counted AND position_id IS NULL) o),
        'messages', (SELECT coalesce(json_agg(m), '[]') FROM (
                         SELECT user_id, count(*) AS count FROM trade_ledger
                         WHERE account_id = :account_id AND id <> :trade_id
                             AND received_at > CAST(:now AS timestamptz) - interval '1 minute'
                         GROUP BY user_id) m),
        'repeats', (
            SELECT row_to_json(r) FROM (
                SELECT extract(epoch FROM CAST(:now AS timestamptz) - max(t.received_at))::text
                           AS last_age_seconds,
                       count(*) FILTER (WHERE t.filled_volume > 0
                           AND t.received_at > CAST(:now AS timestamptz) - interval '10 minutes') AS executed
                FROM trade_ledger t
                WHERE t.account_id = :account_id AND t.user_id = :user_id AND t.id <> :trade_id
                    AND t.received_at > CAST(:now AS timestamptz) - make_interval(secs => greatest(600, (
                        SELECT max(value) FROM risk_limits
                        WHERE account_id = :account_id AND name = 'duplicate_window' AND superseded_at IS NULL
                        ))::float)
                    AND (t.symbol, t.side, t.order_type, t.volume) = (:symbol, :side, :order_type, :volume)
                    AND t.position_id IS NULL
                    AND (t.price, t.stop_limit_price, t.stop_loss, t.take_profit)
                        IS NOT DISTINCT FROM (:price, :stop_limit_price, :stop_loss, :take_profit)
                    AND t.state <> 'denied' AND (t.state <> 'pending'
                        OR EXISTS (SELECT FROM risk_reservations r WHERE r.trade_id = t.id))) r),
        'rolling', (SELECT coalesce(json_agg(d), '[]') FROM (
                        SELECT t.user_id, sum(x.profit + x.commission + x.swap + x.fee) AS amount
                        FROM fills f
                        JOIN fill_allocations x ON x.fill_id = f.id
                        LEFT JOIN trade_ledger t ON t.id = x.trade_id
                        WHERE f.account_id = :account_id AND f.kind = 'trade'
                            AND f.executed_at > CAST(:now AS timestamptz) - interval '24 hours'
                        GROUP BY t.user_id) d),
        'positions', (SELECT coalesce(json_agg(p), '[]') FROM positions p)
    )::text
""")


_ASKED_BY = (
    *("user_id", "account_id", "symbol", "side", "order_type", "volume", "price", "stop_limit_price"),
    *("stop_loss", "take_profit", "position_id", "close_by_position_id"),
)


async def read_risk_context(
    connection: AsyncConnection, intent: OrderIntent, *, now: datetime, data_age_max: timedelta
) -> RiskContext:
    answer = await connection.scalar(
        _FACTS,
        {
            "now": now,
            "trade_id": intent.trade_id,
            **{name: getattr(intent, name) for name in _ASKED_BY},
        },
    )
    return _context(loads(answer), intent, now=now, data_age_max=data_age_max)


def _context(facts: dict[str, Any], intent: OrderIntent, *, now: datetime, data_age_max: timedelta) -> RiskContext:
    instruments = {row["symbol"]: instrument_from_json(row) for row in facts["instruments"]}
    allowed = {row["symbol"] for row in facts["instruments"] if row["allowed"]}
    listed = {row["symbol"] for row in facts["instruments"] if row["listed"]}
    quotes = {row["symbol"]: quote_of(row) for row in facts["quotes"]}
    pairs = pairs_of(facts["quotes"], now=now, age_max=data_age_max)
    limits = tuple(limit_of(row) for row in facts["limits"])
    unvalued = frozenset(
        row["symbol"]
        for row in facts["positions"]
        if row["symbol"] not in instruments
        or facts["account"] is None
        or conversion_rate(
            instruments[row["symbol"]].currency_profit, Currency(facts["account"]["currency"]), pairs
        )
        is None
    )
    return RiskContext(
        now=now,
        data_age_max=data_age_max,
        controls=tuple(_control(row) for row in facts["controls"]),
        account=_account(facts),
        conditions=tuple(
            Condition(kind=FindingKind(row["kind"]), message=row["message"]) for row in facts["conditions"]
        ),
        instrument=instruments.get(intent.symbol),
        instrument_listed=intent.symbol in listed,
        contract_changes=tuple(change_of(row) for row in facts["contract_changes"]),
        instrument_allowed=intent.symbol in allowed,
        quote=quotes.get(intent.symbol),
        pairs=pairs,
        limits=limits,
        usages=usages_of(facts, intent, instruments=instruments, pairs=pairs, limits=limits, unvalued=unvalued),
        unvalued=tuple(sorted(unvalued)),
        holding=_holding(facts, intent.position_id),
        partner=_holding(facts, intent.close_by_position_id),
        repeats=_repeats(facts["repeats"]),
    )


def _repeats(row: dict[str, Any]) -> Repeats:
    age = row["last_age_seconds"]
    return Repeats(last_age_seconds=None if age is None else Decimal(age), executed=row["executed"])


def _holding(facts: dict[str, Any], position_id: int | None) -> Holding | None:
    """The position and what no close holds of it yet; None if it is not open."""
    row = next((p for p in facts["positions"] if p["position_id"] == position_id), None)
    if row is None:
        return None
    position = position_of(row)
    held = next((Decimal(h["volume"]) for h in facts["held_lots"] if h["position_id"] == position_id), ZERO)
    return Holding(
        position=position,
        owner=None if row["user_id"] is None else UUID(row["user_id"]),
        free=Lots(max(ZERO, position.volume - held)),
    )


def _account(facts: dict[str, Any]) -> AccountState | None:
    account, snapshot = facts["account"], facts["snapshot"]
    if account is None or snapshot is None:
        return None
    since = account["unreconciled_since"]
    return AccountState(
        currency=Currency(account["currency"]),
        margin_mode=MarginMode(account["margin_mode"]),
        enabled=account["enabled"],
        user_enabled=account["user_enabled"],
        leverage=snapshot["leverage"],
        margin_free=Decimal(snapshot["margin_free"]),
        read_at=datetime.fromisoformat(snapshot["read_at"]),
        unreconciled_since=None if since is None else datetime.fromisoformat(since),
    )


def _control(row: dict[str, Any]) -> Control:
    return Control(
        scope=ControlScope(row["scope"]),
        scope_id=row["scope_id"],
        state=ControlState(row["state"]),
        reason=row["reason"],
    )
