"""The account as our books have it: what a reconciliation compares with what the broker shows.

One statement, so that all of it is of one moment.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.jsons import loads
from domain.exposure import CurrencyPair, conversion_rate
from domain.money import Currency, Price
from domain.orders import Quote
from domain.reconciliation import POSITIONS, Difference, DifferenceKind, Held, Side, Worth

DOLLARS = Currency("USD")

# Balance is all the cash but what is owed as credit. A position's price is known where all of it was bought before
# any of it was sold: what is left after later additions has a price that depends on the broker's own rounding.
_BOOKS = text("""
    WITH held AS (
        SELECT position_id, min(symbol) AS symbol,
               sum(CASE side WHEN 'buy' THEN volume ELSE -volume END) AS lots,
               CASE WHEN bool_or(entry = 'inout')
                        OR max(ticket) FILTER (WHERE entry = 'in') > min(ticket) FILTER (WHERE entry <> 'in')
                    THEN NULL
                    ELSE sum(price * volume) FILTER (WHERE entry = 'in')
                        / nullif(sum(volume) FILTER (WHERE entry = 'in'), 0) END AS price,
               max(booked_at) AS booked_at
        FROM current_fills
        WHERE account_id = :account_id AND kind = 'trade' AND position_id <> 0
        GROUP BY position_id
    ), adjusted AS (
        SELECT position_id, min(symbol) AS symbol, sum(lots) AS lots FROM position_adjustments
        WHERE account_id = :account_id GROUP BY position_id
    ), positions AS (
        SELECT position_id, coalesce(h.symbol, a.symbol) AS symbol,
               coalesce(h.lots, 0) + coalesce(a.lots, 0) AS lots,
               CASE WHEN a.position_id IS NULL THEN h.price END AS price
        FROM held h FULL JOIN adjusted a USING (position_id)
        WHERE coalesce(h.lots, 0) + coalesce(a.lots, 0) <> 0
    ), flying AS (
        SELECT id, magic, position_id, close_by_position_id, broker_order_id FROM trade_ledger t
        WHERE account_id = :account_id AND closed_at IS NULL AND (state = 'unresolved'
            OR (state = 'pending' AND EXISTS (SELECT FROM send_attempts s WHERE s.trade_id = t.id)))
    ), recent AS (
        SELECT position_id, broker_order_id, profit + commission + swap + fee AS cash FROM fills
        WHERE account_id = :account_id AND booked_at > clock_timestamp() - CAST(:quiet AS interval)
    )
    SELECT json_build_object(
        'watermark', (SELECT coalesce(max(id), 0) FROM fills WHERE account_id = :account_id),
        'sums', (SELECT coalesce(json_object_agg(s.code, s.amount), '{}') FROM (
            SELECT l.code, sum(e.amount) AS amount
            FROM ledger_accounts l JOIN ledger_entries e ON e.ledger_account_id = l.id
            WHERE l.account_id = :account_id AND l.code IN ('broker_cash', 'broker_credit')
            GROUP BY l.code) s),
        'positions', (SELECT coalesce(json_agg(p), '[]') FROM positions p),
        'orders', (SELECT coalesce(json_agg(o), '[]') FROM (
            SELECT broker_order_id, symbol, side, volume - filled_volume AS volume,
                   updated_at > clock_timestamp() - CAST(:quiet AS interval) AS moving
            FROM trade_ledger
            WHERE account_id = :account_id AND closed_at IS NULL AND state IN ('working', 'partially_filled')
                AND order_type <> 'market' AND broker_order_id IS NOT NULL) o),
        'moving', json_build_object(
            'positions', (SELECT coalesce(json_agg(m.id), '[]') FROM (
                SELECT position_id AS id FROM flying UNION SELECT close_by_position_id FROM flying
                UNION SELECT broker_order_id FROM flying UNION SELECT position_id FROM recent) m
                WHERE m.id IS NOT NULL),
            'orders', (SELECT coalesce(json_agg(m.id), '[]') FROM (
                SELECT broker_order_id AS id FROM recent UNION SELECT broker_order_id FROM flying
                UNION SELECT broker_order_id FROM trade_ledger
                WHERE account_id = :account_id AND broker_order_id IS NOT NULL
                    AND updated_at > clock_timestamp() - CAST(:quiet AS interval)) m
                WHERE m.id IS NOT NULL),
            'magics', (SELECT coalesce(json_agg(magic), '[]') FROM flying),
            'money', EXISTS (SELECT FROM flying) OR EXISTS (SELECT FROM recent WHERE cash <> 0))
    )::text
""")

_RATES = text("""
    SELECT q.symbol, q.bid, q.ask, q.at, q.read_at, i.currency_base, i.currency_profit, i.contract_size,
           i.tick_size
    FROM quotes q JOIN instruments i ON i.account_id = q.account_id AND i.symbol = q.symbol
    WHERE q.account_id = :account_id
""")


@dataclass(frozen=True, kw_only=True)
class BookSide:
    """`watermark` is the newest record booked; the moving sets name what is in flight or was booked just now."""

    side: Side
    watermark: int
    moving_positions: frozenset[int]
    moving_orders: frozenset[int]
    moving_magics: frozenset[int]
    moving_money: bool

    def still_has(self, difference: Difference) -> bool:
        """Whether the books have what they had when it was found; only money and lots are moved by bookings."""
        held = self.side.positions.get(difference.number or 0)
        match difference.kind:
            case DifferenceKind.BALANCE:
                return self.side.balance == difference.ours
            case DifferenceKind.CREDIT:
                return self.side.credit == difference.ours
            case kind if kind in POSITIONS:
                return (None if held is None else held.lots) == difference.ours
            case _:
                return True


async def read_books(connection: AsyncConnection, account_id: UUID, *, quiet: timedelta) -> BookSide:
    found = loads(await connection.scalar(_BOOKS, {"account_id": account_id, "quiet": quiet}))
    cash, owed = (Decimal(found["sums"].get(code, 0)) for code in ("broker_cash", "broker_credit"))
    moving = found["moving"]
    return BookSide(
        side=Side(
            balance=cash + owed,
            credit=-owed,
            positions={row["position_id"]: _held(row) for row in found["positions"]},
            orders={
                row["broker_order_id"]: f"{row['side']} {row['volume']} {row['symbol']}" for row in found["orders"]
            },
        ),
        watermark=found["watermark"],
        moving_positions=_numbers(moving["positions"]),
        moving_orders=_numbers(moving["orders"]),
        moving_magics=_numbers(moving["magics"]),
        moving_money=moving["money"],
    )


async def read_worth(connection: AsyncConnection, account_id: UUID, currency: Currency) -> Worth:
    """What lots and money are worth in US dollars by the newest quotes, whatever their age."""
    rows = [dict(row) for row in (await connection.execute(_RATES, {"account_id": account_id})).mappings()]
    pairs = [
        CurrencyPair(
            base=Currency(row["currency_base"]),
            quoted=Currency(row["currency_profit"]),
            quote=Quote(
                symbol=row["symbol"], bid=row["bid"], ask=row["ask"], at=row["at"], read_at=row["read_at"]
            ),
        )
        for row in rows
    ]
    lots: dict[str, Decimal] = {}
    for row in rows:
        rate = conversion_rate(Currency(row["currency_profit"]), DOLLARS, pairs)
        if rate is not None:
            lots[row["symbol"]] = row["contract_size"] * row["ask"] * rate
    return Worth(
        lots=lots,
        money=conversion_rate(currency, DOLLARS, pairs),
        ticks={row["symbol"]: row["tick_size"] for row in rows},
    )


def _held(row: dict[str, Any]) -> Held:
    price = None if row["price"] is None else Price(Decimal(row["price"]))
    return Held(symbol=row["symbol"], lots=Decimal(row["lots"]), price=price)


def _numbers(found: Collection[int]) -> frozenset[int]:
    return frozenset(found)
