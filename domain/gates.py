"""The gates by name, and what one says when it refuses."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from domain.limits import LimitName
from domain.money import Currency


class Gate(StrEnum):
    CONTROL = "control"
    ACCOUNT = "account"
    INSTRUMENT = "instrument"
    CONTRACT = "contract"
    VOLUME = "volume"
    PRICE = "price"
    POSITION = "position"
    QUOTE = "quote"
    STOP_LOSS = "stop_loss"
    POSITION_SIZE = "position_size"
    FREE_MARGIN = "free_margin"
    DAILY_LOSS = "daily_loss"
    DEADLINE = "deadline"


@dataclass(frozen=True, kw_only=True)
class Denial:
    """Why one gate refused. `distance` is how far `value` lies beyond `limit`, in `unit`."""

    gate: Gate
    code: str
    message: str
    limit: Decimal | None = None
    value: Decimal | None = None
    distance: Decimal | None = None
    unit: str | None = None


def unset(name: LimitName, gate: Gate) -> Denial:
    return Denial(gate=gate, code="limit_unset", message=f"the limit {name} is not set, so nothing passes it")


def over(gate: Gate, code: str, value: Decimal, limit: Decimal, currency: Currency) -> Denial:
    return Denial(
        gate=gate,
        code=code,
        message=f"{gate} would be {value} {currency} against {limit} {currency}",
        limit=limit,
        value=value,
        distance=value - limit,
        unit=currency,
    )
