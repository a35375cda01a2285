"""Positions: the holdings that fills produce, net or hedged."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from domain.money import Lots, Price
from domain.orders import Side


class MarginMode(StrEnum):
    """How an account keeps its positions; exchange accounts net as well."""

    NETTING = "netting"
    EXCHANGE = "exchange"
    HEDGING = "hedging"


@dataclass(frozen=True, kw_only=True)
class BrokerPosition:
    """An open position as the broker shows it; `position_id` is constant for its whole life, `ticket` is not."""

    ticket: int
    position_id: int
    magic: int
    symbol: str
    side: Side
    volume: Lots
    price_open: Price
    price_current: Price
    stop_loss: Price | None
    take_profit: Price | None
    swap: Decimal
    profit: Decimal
    opened_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A position, the user who opened it (None for nobody's), and its lots that no close holds yet."""

    position: BrokerPosition
    owner: UUID | None
    free: Lots

    def is_open_to(self, user_id: UUID) -> bool:
        return self.owner in {None, user_id}
