"""Limits as data, and what counts against them."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from domain.controls import ControlScope
from domain.money import ZERO, Currency


class LimitName(StrEnum):
    """What each limits; a limit that is not set denies.

    `daily_loss` and `rolling_loss`: money that may be lost in a day of the account and in any 24 hours.
    `order_value`, `position_size`, `gross_exposure`: value of one order, of all in one symbol, of all together.
    `open_orders`, `open_positions`: how many may be at the broker, the order that is asked about included.
    `message_rate`: orders of a minute. `repeated_executions`: identical orders executed in ten minutes.
    `duplicate_window`: seconds in which an identical order is refused unless it says that it is meant; 0 for none.
    `stopless_loss`: the loss assumed for an order without a stop, in percent of its value.
    `price_collar`: points by which the market may move between the reservation and the send.
    """

    DAILY_LOSS = "daily_loss"
    ROLLING_LOSS = "rolling_loss"
    ORDER_VALUE = "order_value"
    POSITION_SIZE = "position_size"
    GROSS_EXPOSURE = "gross_exposure"
    OPEN_ORDERS = "open_orders"
    OPEN_POSITIONS = "open_positions"
    MESSAGE_RATE = "message_rate"
    REPEATED_EXECUTIONS = "repeated_executions"
    DUPLICATE_WINDOW = "duplicate_window"
    STOPLESS_LOSS = "stopless_loss"
    PRICE_COLLAR = "price_collar"


class LimitUnit(StrEnum):
    MONEY = "money"
    PERCENT = "percent"
    COUNT = "count"
    POINTS = "points"
    SECONDS = "seconds"


UNITS: dict[LimitName, LimitUnit] = {
    LimitName.DAILY_LOSS: LimitUnit.MONEY,
    LimitName.ROLLING_LOSS: LimitUnit.MONEY,
    LimitName.ORDER_VALUE: LimitUnit.MONEY,
    LimitName.POSITION_SIZE: LimitUnit.MONEY,
    LimitName.GROSS_EXPOSURE: LimitUnit.MONEY,
    LimitName.OPEN_ORDERS: LimitUnit.COUNT,
    LimitName.OPEN_POSITIONS: LimitUnit.COUNT,
    LimitName.MESSAGE_RATE: LimitUnit.COUNT,
    LimitName.REPEATED_EXECUTIONS: LimitUnit.COUNT,
    LimitName.DUPLICATE_WINDOW: LimitUnit.SECONDS,
    LimitName.STOPLESS_LOSS: LimitUnit.PERCENT,
    LimitName.PRICE_COLLAR: LimitUnit.POINTS,
}

# More of these is the stricter limit.
_RISES_TO_TIGHTEN = frozenset({LimitName.STOPLESS_LOSS, LimitName.DUPLICATE_WINDOW})


def loosens(name: LimitName, *, before: Decimal, after: Decimal) -> bool:
    """Whether the change lets something pass that was refused before."""
    return after < before if name in _RISES_TO_TIGHTEN else after > before


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit in force; the narrower scope is the user's."""

    name: LimitName
    scope: ControlScope
    value: Decimal
    unit: LimitUnit
    currency: Currency | None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What counts against the limits of one scope now, in the account's currency.

    `symbol_notional` and `gross_notional` are values of open positions and of what is held; `rolling_result` is
    what the last 24 hours realised and what floats now; `open_loss` what open positions may lose today to their
    stops, `present_loss` what they have lost of it by now. `open_positions` and `messages` count the order itself.
    """

    scope: ControlScope
    held_loss: Decimal
    held_margin: Decimal
    symbol_notional: Decimal
    gross_notional: Decimal
    realised_today: Decimal
    rolling_result: Decimal
    open_loss: Decimal
    present_loss: Decimal
    open_orders: int
    open_positions: int
    messages: int


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Identical orders of the same user that were not denied: how old the last is, and how many were filled."""

    last_age_seconds: Decimal | None
    executed: int


def daily_loss_used(usage: Usage) -> Decimal:
    """Today's loss: realised, plus what open positions may still lose, plus what is held for orders."""
    return max(ZERO, -usage.realised_today) + usage.open_loss + usage.held_loss


def rolling_loss_used(usage: Usage) -> Decimal:
    """The loss of any 24 hours, so that nothing is won by waiting for midnight: realised, floating and held."""
    return max(ZERO, -usage.rolling_result) + usage.held_loss


def loss_reached(name: LimitName, usage: Usage) -> Decimal:
    """What has been lost by now, whatever may still be: the loss at which trading is stopped."""
    if name is LimitName.DAILY_LOSS:
        return max(ZERO, -usage.realised_today) + usage.present_loss
    assert name is LimitName.ROLLING_LOSS, "only losses are reached"
    return max(ZERO, -usage.rolling_result)


def strictest(limits: tuple[Limit, ...], name: LimitName) -> Limit | None:
    """The limit that binds where several scopes set one."""
    named = [limit for limit in limits if limit.name is name]
    pick = max if name in _RISES_TO_TIGHTEN else min
    return pick(named, key=lambda limit: limit.value, default=None)
