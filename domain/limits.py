"""Limits as data, how they may change, and what counts against them.

1. A tightening stands until somebody changes it, and ends what was loosened for a time.
2. A loosening ends by itself: the base value stands beneath it and is in force again once it has expired.
3. For good, only whoever has the authority loosens, and only when that is what was asked for.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from domain.controls import ControlScope
from domain.errors import LimitTermRefused, LimitValueRefused, LooseningRefused
from domain.money import ZERO, Currency
from domain.reservations import Amounts

LOOSENED_FOR = timedelta(hours=24)
LOOSENED_FOR_MAX = timedelta(days=30)


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

# Beyond these the gates could not reckon with it: the collar is stored as a 32-bit number of points, and orders
# are looked through as far back as the window says.
_LARGEST: dict[LimitUnit, Decimal] = {
    LimitUnit.MONEY: Decimal(10**12 - 1),
    LimitUnit.PERCENT: Decimal(10_000),
    LimitUnit.COUNT: Decimal(1_000_000),
    LimitUnit.POINTS: Decimal(1_000_000),
    LimitUnit.SECONDS: Decimal(7 * 86_400),
}
_WHOLE = frozenset({LimitUnit.COUNT, LimitUnit.POINTS, LimitUnit.SECONDS})


def loosens(name: LimitName, *, before: Decimal, after: Decimal) -> bool:
    """Whether the change lets something pass that was refused before."""
    return after < before if name in _RISES_TO_TIGHTEN else after > before


class Authority(StrEnum):
    """Who may tighten and loosen for a time, and who may loosen for good as well."""

    FOR_A_TIME = "for_a_time"
    FOR_GOOD = "for_good"


@dataclass(frozen=True, kw_only=True)
class AskedLimit:
    """A value that somebody wants; a loosening holds for as long as `lasts` says, or for good if `permanent`."""

    name: LimitName
    value: Decimal
    reason: str
    lasts: timedelta | None
    permanent: bool
    authority: Authority


@dataclass(frozen=True, kw_only=True)
class Loosened:
    """A value that stands in for the base value until it expires."""

    value: Decimal
    reason: str
    set_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The base value of a limit, and the newest loosening above it, which may have expired."""

    base: Decimal
    loosened: Loosened | None

    def loosened_at(self, now: datetime) -> Loosened | None:
        return self.loosened if self.loosened is not None and self.loosened.expires_at > now else None

    def in_force_at(self, now: datetime) -> Decimal:
        loosened = self.loosened_at(now)
        return self.base if loosened is None else loosened.value


@dataclass(frozen=True, kw_only=True)
class Unset:
    """The scope has no usable value; that `denies` unless a wider scope has one, which a first one narrows."""

    denies: bool


@dataclass(frozen=True, kw_only=True)
class Unchanged:
    """What was asked for stands already."""


@dataclass(frozen=True, kw_only=True)
class ForGood:
    """The value becomes the base value and ends what was loosened above it."""


@dataclass(frozen=True, kw_only=True)
class Until:
    """The value stands in for the base value until it expires."""

    expires_at: datetime


LimitChange = Unchanged | ForGood | Until


def decide_change(standing: Standing | Unset, asked: AskedLimit, *, now: datetime) -> LimitChange:
    """What the change is. Raises LimitValueRefused, LimitTermRefused and LooseningRefused.

    Judged against the base value: what lies between it and a loosening above it loosens still.
    """
    check_limit_value(asked.name, asked.value)
    _check_term(asked)
    if isinstance(standing, Unset):
        return _for_good(asked, loosens_for_good=standing.denies)
    loosened = standing.loosened_at(now)
    if not loosens(asked.name, before=standing.base, after=asked.value):
        same = asked.value == standing.base and loosened is None
        return Unchanged() if same else _for_good(asked, loosens_for_good=False)
    if asked.permanent:
        return _for_good(asked, loosens_for_good=True)
    if loosened is not None and _repeats(asked, loosened):
        return Unchanged()
    return Until(expires_at=_end(asked, loosened, now=now))


def lets_more_pass(standing: Standing | Unset, asked: AskedLimit, change: LimitChange, *, now: datetime) -> bool:
    """Whether the change, as decided, lets something pass, now or later, that would be refused without it."""
    if isinstance(change, Unchanged):
        return False
    if isinstance(standing, Unset):
        return standing.denies
    loosened = standing.loosened_at(now)
    if loosens(asked.name, before=standing.in_force_at(now), after=asked.value):
        return True
    if isinstance(change, Until):
        # It narrows a loosening, and may prolong it all the same.
        return loosened is None or change.expires_at > loosened.expires_at
    return loosens(asked.name, before=standing.base, after=asked.value)


def check_limit_value(name: LimitName, value: Decimal) -> None:
    """Raise LimitValueRefused for a value that the limit cannot have."""
    unit = UNITS[name]
    largest = _LARGEST[unit]
    if not value.is_finite() or not ZERO <= value <= largest:
        raise LimitValueRefused(name, f"give a number of {unit} from 0 to {largest}")
    if unit in _WHOLE and value != value.to_integral_value():
        raise LimitValueRefused(name, f"give a whole number of {unit}")


def _check_term(asked: AskedLimit) -> None:
    if asked.lasts is None:
        return
    if asked.permanent:
        raise LimitTermRefused(asked.name, "lasts for a time or for good; say one of the two")
    if not timedelta(0) < asked.lasts <= LOOSENED_FOR_MAX:
        raise LimitTermRefused(
            asked.name, f"is loosened for {LOOSENED_FOR_MAX.days} days at most; name a shorter time"
        )


def _for_good(asked: AskedLimit, *, loosens_for_good: bool) -> ForGood:
    if asked.lasts is not None:
        raise LimitTermRefused(
            asked.name, "is not loosened by this value, which stands until it is changed; leave the time out"
        )
    if loosens_for_good and asked.authority is not Authority.FOR_GOOD:
        raise LooseningRefused(asked.name)
    return ForGood()


def _repeats(asked: AskedLimit, loosened: Loosened) -> bool:
    """Whether it is the request again that made the loosening, whose end stays then as it is."""
    if asked.value != loosened.value:
        return False
    spans = loosened.expires_at - loosened.set_at
    return asked.lasts is None or (asked.lasts, asked.reason) == (spans, loosened.reason)


def _end(asked: AskedLimit, loosened: Loosened | None, *, now: datetime) -> datetime:
    if asked.lasts is not None:
        return now + asked.lasts
    if loosened is not None and loosens(asked.name, before=asked.value, after=loosened.value):
        # Whoever narrows a loosening without a word on time does not mean to prolong it.
        return loosened.expires_at
    return now + LOOSENED_FOR


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
    held_notional: Decimal
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

    def after(self, claim: Amounts, *, new_position: bool) -> "Usage":
        """What counts once an order that claims this is held beside the rest."""
        return replace(
            self,
            held_loss=self.held_loss + claim.loss,
            held_notional=self.held_notional + claim.notional,
            held_margin=self.held_margin + claim.margin,
            symbol_notional=self.symbol_notional + claim.notional,
            gross_notional=self.gross_notional + claim.notional,
            open_orders=self.open_orders + 1,
            open_positions=self.open_positions + new_position,
        )


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
