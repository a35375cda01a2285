"""What the broker shows now: quotes, account and positions, each with the instant when it was read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.jsons import dumps
from db.tables import instruments
from domain.instruments import Instrument
from domain.orders import Quote
from domain.positions import BrokerPosition


@dataclass(frozen=True, kw_only=True)
class AccountSnapshot:
    read_at: datetime
    balance: Decimal
    credit: Decimal
    equity: Decimal
    margin: Decimal
    margin_free: Decimal
    leverage: int
    connected: bool
    trade_allowed: bool


_QUOTES = text("""
    INSERT INTO quotes (account_id, symbol, bid, ask, at, read_at)
    SELECT :account_id, r.symbol, r.bid, r.ask, r.at, r.read_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS r(symbol text, bid numeric, ask numeric, at timestamptz, read_at timestamptz)
    ON CONFLICT (account_id, symbol) DO UPDATE
        SET bid = excluded.bid, ask = excluded.ask, at = excluded.at, read_at = excluded.read_at
        WHERE quotes.read_at <= excluded.read_at
""")

_ACCOUNT = text("""
    INSERT INTO account_snapshots (account_id, minute_at, read_at, balance, credit, equity, margin, margin_free,
                                   leverage, connected, trade_allowed)
    VALUES (:account_id, date_trunc('minute', CAST(:read_at AS timestamptz)), :read_at, :balance, :credit, :equity,
            :margin, :margin_free, :leverage, :connected, :trade_allowed)
    ON CONFLICT (account_id, minute_at) DO UPDATE SET
        read_at = excluded.read_at, balance = excluded.balance, credit = excluded.credit,
        equity = excluded.equity, margin = excluded.margin, margin_free = excluded.margin_free,
        leverage = excluded.leverage, connected = excluded.connected, trade_allowed = excluded.trade_allowed
        WHERE account_snapshots.read_at <= excluded.read_at
""")

_POSITIONS = text("""
    WITH rows AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
            position_id bigint, ticket bigint, magic bigint, symbol text, side text, volume numeric,
            price_open numeric, price_current numeric, stop_loss numeric, take_profit numeric, swap numeric,
            profit numeric, opened_at timestamptz, updated_at timestamptz)
    ), gone AS (
        DELETE FROM broker_positions gone
        WHERE account_id = :account_id AND position_id NOT IN (SELECT position_id FROM rows)
            AND coalesce((
                SELECT sum(CASE a.role WHEN 'open' THEN a.volume WHEN 'close' THEN -a.volume ELSE 0 END)
                FROM fill_allocations a JOIN fills f ON f.id = a.fill_id
                WHERE f.account_id = gone.account_id AND f.position_id = gone.position_id), 0) <= 0
    )
    INSERT INTO broker_positions AS p (account_id, position_id, ticket, magic, symbol, side, volume, price_open,
        price_current, stop_loss, take_profit, swap, profit, opened_at, updated_at, read_at)
    SELECT :account_id, position_id, ticket, magic, symbol, side, volume, price_open, price_current, stop_loss,
        take_profit, swap, profit, opened_at, updated_at, :read_at FROM rows
    ON CONFLICT (account_id, position_id) DO UPDATE SET
        ticket = excluded.ticket, magic = excluded.magic, side = excluded.side, volume = excluded.volume,
        price_open = excluded.price_open, price_current = excluded.price_current, stop_loss = excluded.stop_loss,
        take_profit = excluded.take_profit, swap = excluded.swap, profit = excluded.profit,
        updated_at = excluded.updated_at, read_at = excluded.read_at
""")

_INSTRUMENTS = text("""
    INSERT INTO instruments AS i (account_id, symbol, description, currency_base, currency_profit, currency_margin,
        digits, point, tick_size, tick_value, contract_size, volume_min, volume_max, volume_step,
        stops_level_points, freeze_level_points, trade_mode, execution, fillings, order_types, close_by, read_at)
    SELECT :account_id, r.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        symbol text, description text, currency_base text, currency_profit text, currency_margin text,
        digits integer, point numeric, tick_size numeric, tick_value numeric, contract_size numeric,
        volume_min numeric, volume_max numeric, volume_step numeric, stops_level_points integer,
        freeze_level_points integer, trade_mode text, execution text, fillings text[], order_types text[],
        close_by boolean, read_at timestamptz)
    ON CONFLICT (account_id, symbol) DO UPDATE SET
        description = excluded.description, currency_base = excluded.currency_base,
        currency_profit = excluded.currency_profit, currency_margin = excluded.currency_margin,
        digits = excluded.digits, point = excluded.point, tick_size = excluded.tick_size,
        tick_value = excluded.tick_value, contract_size = excluded.contract_size,
        volume_min = excluded.volume_min, volume_max = excluded.volume_max, volume_step = excluded.volume_step,
        stops_level_points = excluded.stops_level_points, freeze_level_points = excluded.freeze_level_points,
        trade_mode = excluded.trade_mode, execution = excluded.execution, fillings = excluded.fillings,
        order_types = excluded.order_types, close_by = excluded.close_by, read_at = excluded.read_at
""")

# The price where a position's day begins; one opened today counts from its own opening price.
_MARKS = text("""
    INSERT INTO position_marks (account_id, day, position_id, price, marked_at)
    SELECT p.account_id, d.day, p.position_id, p.price_current, p.read_at
    FROM broker_positions p JOIN broker_accounts a ON a.id = p.account_id
    CROSS JOIN LATERAL (SELECT (p.read_at AT TIME ZONE a.day_zone)::date AS day) d
    WHERE p.account_id = :account_id AND p.opened_at < d.day::timestamp AT TIME ZONE a.day_zone
    ON CONFLICT DO NOTHING
""")


_NEWEST = text("""
    SELECT read_at, leverage FROM account_snapshots WHERE account_id = :account_id ORDER BY minute_at DESC LIMIT 1
""")
_CLOCK = text("SELECT clock_timestamp()")


@dataclass(frozen=True, kw_only=True)
class Newest:
    """What the books have of the account now."""

    read_at: datetime
    leverage: int


async def newest(connection: AsyncConnection, account_id: UUID) -> Newest | None:
    row = (await connection.execute(_NEWEST, {"account_id": account_id})).mappings().one_or_none()
    return None if row is None else Newest(**row)


async def database_clock(connection: AsyncConnection) -> datetime:
    """The instant by the clock that stamps the books' own rows."""
    instant: datetime = await connection.scalar(_CLOCK)
    return instant


async def write_quotes(connection: AsyncConnection, account_id: UUID, quotes: Sequence[Quote]) -> None:
    await connection.execute(_QUOTES, {"account_id": account_id, "rows": _rows(quotes)})


async def write_account(connection: AsyncConnection, account_id: UUID, snapshot: AccountSnapshot) -> None:
    await connection.execute(_ACCOUNT, {"account_id": account_id, **vars(snapshot)})


async def write_positions(
    connection: AsyncConnection, account_id: UUID, positions: Sequence[BrokerPosition], *, read_at: datetime
) -> None:
    """Replace the positions of the account by those that the broker showed at `read_at`.

    One that is gone stays, and counts as it was last seen, until the fill that closed it is booked: its loss would
    otherwise be nowhere in between.
    """
    parameters = {"account_id": account_id, "rows": _rows(positions), "read_at": read_at}
    await connection.execute(_POSITIONS, parameters)
    await connection.execute(_MARKS, {"account_id": account_id})


async def write_instruments(connection: AsyncConnection, account_id: UUID, cards: Sequence[Instrument]) -> None:
    """Store what the broker states of each symbol; whether it is allowed here stays as it was set."""
    await connection.execute(_INSTRUMENTS, {"account_id": account_id, "rows": _rows(cards)})


async def known_symbols(connection: AsyncConnection, account_id: UUID) -> tuple[str, ...]:
    """What may be traded here and is to be had, by name."""
    table = instruments.c
    query = select(table.symbol).where(table.account_id == account_id, table.allowed, table.listed)
    return tuple(await connection.scalars(query.order_by(table.symbol)))


def _rows(items: Sequence[Any]) -> str:
    return dumps([vars(item) for item in items])
