"""The gates by name, and what one says when it refuses."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from domain.limits import LimitName


class Gate(StrEnum):
    DEADLINE = "deadline"
    CONTROL = "control"
    ACCOUNT = "account"
    INSTRUMENT = "instrument"
    CONTRACT = "contract"
    SESSION = "session"
    VOLUME = "volume"
    PRICE = "price"
    POSITION = "position"
    QUOTE = "quote"
    STOP_LOSS = "stop_loss"
    ORDER_VALUE = "order_value"
    POSITION_SIZE = "position_size"
    GROSS_EXPOSURE = "gross_exposure"
    OPEN_ORDERS = "open_orders"
    OPEN_POSITIONS = "open_positions"
    FREE_MARGIN = "free_margin"
    DAILY_LOSS = "daily_loss"
    ROLLING_LOSS = "rolling_loss"
    MESSAGE_RATE = "message_rate"
    DUPLICATE = "duplicate"
    REPEATED_EXECUTION = "repeated_execution"


@dataclass(frozen=True, kw_only=True)
class Denial:
    """Why one gate refused. `distance` is how far `value` lies beyond `limit`, in `unit`.

    `remedy` is the smallest change that would pass this gate; `ages_ms` are the ages of the data it went by.
    """

    gate: Gate
    code: str
    message: str
    limit: Decimal | None = None
    value: Decimal | None = None
    distance: Decimal | None = None
    unit: str | None = None
    remedy: str | None = None
    ages_ms: dict[str, int] = field(default_factory=dict)


def unset(name: LimitName, gate: Gate) -> Denial:
    return Denial(
        gate=gate,
        code="limit_unset",
        message=f"the limit {name} is not set, so nothing passes it",
        remedy=f"somebody with the risk role sets {name}: nexus limits set {name} VALUE",
    )


def over(  # each is a number or a name of the same refusal
    gate: Gate, *, code: str, value: Decimal, limit: Decimal, unit: str, remedy: str
) -> Denial:
    return Denial(
        gate=gate,
        code=code,
        message=f"{gate} would be {value} {unit} against {limit} {unit}",
        limit=limit,
        value=value,
        distance=value - limit,
        unit=unit,
        remedy=remedy,
    )
