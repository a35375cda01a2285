"""Instruments out of the books."""

from datetime import datetime
from decimal import Decimal
from typing import Any

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
        read_at=datetime.fromisoformat(row["read_at"]),
    )
