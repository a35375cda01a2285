"""Instruments out of the books, and what is set of them here."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import instruments
from domain.instruments import Execution, Filling, Instrument, TradeMode
from domain.money import Currency, Lots
from domain.orders import OrderType


def instrument_from_json(row: dict[str, Any]) -> Instrument:
    """The instrument of a row that PostgreSQL gave as JSON and `db.jsons.loads` has parsed."""
    return Instrument(
        symbol=row["symbol"],
        description=row["description"],
        currency_base=Currency(row["currency_base"]),
        currency_profit=Currency(row["currency_profit"]),
        currency_margin=Currency(row["currency_margin"]),
        digits=row["digits"],
        point=Decimal(row["point"]),
        tick_size=Decimal(row["tick_size"]),
        tick_value=Decimal(row["tick_value"]),
        contract_size=Decimal(row["contract_size"]),
        volume_min=Lots(Decimal(row["volume_min"])),
        volume_max=Lots(Decimal(row["volume_max"])),
        volume_step=Lots(Decimal(row["volume_step"])),
        stops_level_points=row["stops_level_points"],
        freeze_level_points=row["freeze_level_points"],
        trade_mode=TradeMode(row["trade_mode"]),
        execution=Execution(row["execution"]),
        fillings=tuple(Filling(name) for name in row["fillings"]),
        order_types=tuple(OrderType(name) for name in row["order_types"]),
        close_by=row["close_by"],
        read_at=datetime.fromisoformat(row["read_at"]),
    )


async def largest_volumes(connection: AsyncConnection, account_id: UUID) -> Mapping[str, Lots]:
    """How much one order may have, by symbol."""
    found = await connection.execute(
        select(instruments.c.symbol, instruments.c.volume_max).where(instruments.c.account_id == account_id)
    )
    return {symbol: Lots(volume) for symbol, volume in found}


async def bound_slippage(
    connection: AsyncConnection, account_id: UUID, points_max: Mapping[str, Decimal]
) -> tuple[str, ...]:
    """Set per symbol how many points an order may slip before people are told; the symbols that are not there."""
    table = instruments.c
    await connection.execute(
        update(instruments).where(table.account_id == account_id).values(slippage_points_max=None)
    )
    unknown = []
    for symbol, points in points_max.items():
        done = await connection.execute(
            update(instruments)
            .where(table.account_id == account_id, table.symbol == symbol)
            .values(slippage_points_max=points)
        )
        if done.rowcount != 1:
            unknown.append(symbol)
    return tuple(unknown)
