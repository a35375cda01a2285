"""The facts that the size of an order is reckoned from."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.jsons import loads
from db.risk_rows import pairs_of, quote_of
from domain.exposure import conversion_rate
from domain.instruments import Instrument
from domain.money import Currency
from domain.orders import Quote


@dataclass(frozen=True, kw_only=True)
class SizeFacts:
    """None is a fact that nobody has read yet, or, for the rate, that no fresh quote gives."""

    currency: Currency
    quote: Quote | None
    equity: Decimal | None
    account_read_at: datetime | None
    rate: Decimal | None


_FACTS = text("""
    SELECT a.currency, s.equity, s.read_at,
           (SELECT coalesce(json_agg(q), '[]') FROM (
                SELECT q.*, i.currency_base, i.currency_profit FROM quotes q JOIN instruments i
                ON i.account_id = q.account_id AND i.symbol = q.symbol WHERE q.account_id = a.id
            ) q)::text AS quotes
    FROM broker_accounts a
    LEFT JOIN LATERAL (
        SELECT equity, read_at FROM account_snapshots WHERE account_id = a.id ORDER BY minute_at DESC LIMIT 1
    ) s ON true
    WHERE a.id = :account_id
""")


async def read_size_facts(
    connection: AsyncConnection,
    account_id: UUID,
    instrument: Instrument,
    *,
    now: datetime,
    data_age_max: timedelta,
) -> SizeFacts:
    row = (await connection.execute(_FACTS, {"account_id": account_id})).mappings().one()
    quotes = loads(row["quotes"])
    currency = Currency(row["currency"])
    pairs = pairs_of(quotes, now=now, age_max=data_age_max)
    own = next((quote for quote in quotes if quote["symbol"] == instrument.symbol), None)
    return SizeFacts(
        currency=currency,
        quote=None if own is None else quote_of(own),
        equity=row["equity"],
        account_read_at=row["read_at"],
        rate=conversion_rate(instrument.currency_profit, currency, pairs),
    )
