"""Limits as data, and what counts against them."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from domain.controls import ControlScope
from domain.money import ZERO, Currency


class LimitName(StrEnum):
    """`stopless_loss` is the loss assumed for an order without a stop, in percent of its value."""

    DAILY_LOSS = "daily_loss"
    POSITION_SIZE = "position_size"
    STOPLESS_LOSS = "stopless_loss"
    PRICE_COLLAR = "price_collar"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit in force; the narrower scope is the user's."""

    name: LimitName
    scope: ControlScope
    value: Decimal
    unit: str
    currency: Currency | None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What counts against the limits of one scope now, in the account's currency."""

    scope: ControlScope
    held_loss: Decimal
    held_margin: Decimal
    symbol_notional: Decimal
    realised_today: Decimal
    open_loss: Decimal


def daily_loss_used(usage: Usage) -> Decimal:
    """Today's loss: realised, plus what open positions may still lose, plus what is held for orders."""
    return max(ZERO, -usage.realised_today) + usage.open_loss + usage.held_loss


def strictest(limits: tuple[Limit, ...], name: LimitName) -> Limit | None:
    """The limit that binds where several scopes set one: the least, but for a loss that is assumed the largest."""
    named = [limit for limit in limits if limit.name is name]
    pick = max if name is LimitName.STOPLESS_LOSS else min
    return pick(named, key=lambda limit: limit.value, default=None)
