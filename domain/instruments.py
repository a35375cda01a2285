"""What may be traded: sizes, steps and distances as the broker states them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.contracts import Contract
from domain.money import Currency, Lots, is_multiple
from domain.orders import OrderType


class TradeMode(StrEnum):
    DISABLED = "disabled"
    LONG_ONLY = "long_only"
    SHORT_ONLY = "short_only"
    CLOSE_ONLY = "close_only"
    FULL = "full"


class Execution(StrEnum):
    REQUEST = "request"
    INSTANT = "instant"
    MARKET = "market"
    EXCHANGE = "exchange"


class Filling(StrEnum):
    FOK = "fok"
    IOC = "ioc"
    RETURN = "return"


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One symbol of one account. `contract_size` is units per lot; `point` is the least digit of a price.

    `tick_value` is the money of one tick for one lot, in the account's currency, as the broker last stated it.
    `close_by` says whether a position may be closed by an opposite one.
    """

    symbol: str
    description: str
    currency_base: Currency
    currency_profit: Currency
    currency_margin: Currency
    digits: int
    point: Decimal
    tick_size: Decimal
    tick_value: Decimal
    contract_size: Decimal
    volume_min: Lots
    volume_max: Lots
    volume_step: Lots
    stops_level_points: int
    freeze_level_points: int
    trade_mode: TradeMode
    execution: Execution
    fillings: tuple[Filling, ...]
    order_types: tuple[OrderType, ...]
    close_by: bool
    read_at: datetime

    @property
    def contract(self) -> Contract:
        return Contract(
            contract_size=self.contract_size, tick_size=self.tick_size, point=self.point, digits=self.digits
        )

    def volume_fault(self, volume: Lots) -> str | None:
        """Why the broker would refuse this volume, in words; None if it would not."""
        if volume < self.volume_min:
            return f"must be at least {self.volume_min} lots"
        if volume > self.volume_max:
            return f"must be at most {self.volume_max} lots"
        if not is_multiple(volume, self.volume_step):
            return f"must be a multiple of {self.volume_step} lots"
        return None

    def price_fault(self, price: Decimal) -> str | None:
        if price <= 0:
            return "must be above zero"
        if not is_multiple(price, self.tick_size):
            return f"must be a multiple of {self.tick_size}"
        return None
