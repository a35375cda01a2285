"""Rows of the risk facts, as PostgreSQL's JSON gives them, as the domain's types."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.controls import ControlScope
from domain.exposure import CurrencyPair
from domain.limits import Limit, LimitName, LimitUnit
from domain.money import Currency, Lots, Price
from domain.orders import Quote, Side
from domain.positions import BrokerPosition


def quote_of(row: dict[str, Any]) -> Quote:
    return Quote(
        symbol=row["symbol"],
        bid=Price(Decimal(row["bid"])),
        ask=Price(Decimal(row["ask"])),
        at=datetime.fromisoformat(row["at"]),
        read_at=datetime.fromisoformat(row["read_at"]),
    )


def pairs_of(quotes: list[dict[str, Any]], *, now: datetime, age_max: timedelta) -> tuple[CurrencyPair, ...]:
    """The exchange rates among the quotes that are fresh."""
    read = ((row, quote_of(row)) for row in quotes)
    return tuple(
        CurrencyPair(base=Currency(row["currency_base"]), quoted=Currency(row["currency_profit"]), quote=quote)
        for row, quote in read
        if now - quote.read_at <= age_max
    )


def limit_of(row: dict[str, Any]) -> Limit:
    return Limit(
        name=LimitName(row["name"]),
        scope=ControlScope.ACCOUNT if row["user_id"] is None else ControlScope.USER,
        value=Decimal(row["value"]),
        unit=LimitUnit(row["unit"]),
        currency=None if row["currency"] is None else Currency(row["currency"]),
    )


def position_of(row: dict[str, Any]) -> BrokerPosition:
    return BrokerPosition(
        ticket=row["ticket"],
        position_id=row["position_id"],
        magic=row["magic"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        volume=Lots(Decimal(row["volume"])),
        price_open=Price(Decimal(row["price_open"])),
        price_current=Price(Decimal(row["price_current"])),
        stop_loss=None if row["stop_loss"] is None else Price(Decimal(row["stop_loss"])),
        take_profit=None if row["take_profit"] is None else Price(Decimal(row["take_profit"])),
        swap=Decimal(row["swap"]),
        profit=Decimal(row["profit"]),
        opened_at=datetime.fromisoformat(row["opened_at"]),
        updated_at=datetime.fromisoformat(row["updated_at"]),
    )
