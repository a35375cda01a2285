"""The gates before an order: evaluated together, so that a refusal names every reason at once.

1. A limit that is not set denies.
2. Missing or old data denies; nothing is assumed.
3. Only an order that names its position and fits the position's free volume skips the loss and exposure gates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from domain.controls import ControlScope
from domain.gates import Denial, Gate
from domain.gates_limits import limits, room_of
from domain.gates_order import close_by, order, reduction
from domain.gates_standing import account_unknown, contract, data, quote_missing, standing, tradable
from domain.limits import UNITS, Limit, LimitName
from domain.orders import OrderIntent
from domain.remedies import REMEDIES
from domain.risk_context import RiskContext
from domain.sizing import Approved, size


@dataclass(frozen=True, kw_only=True)
class Denied:
    denials: tuple[Denial, ...]

    @property
    def for_want_of_data(self) -> bool:
        """Whether missing or old data is all that stands against it, so that newer data may change the answer."""
        return all(denial.code in _WANTING for denial in self.denials)


# A position that was opened or partly closed just now shows in the next reading.
_WANTING = frozenset(
    {
        "account_unknown",
        "account_stale",
        "quote_missing",
        "quote_stale",
        "rate_missing",
        "exposure_unknown",
        "position_not_open",
        "position_volume_exceeded",
        "close_by_volume",
    }
)


def evaluate(intent: OrderIntent, context: RiskContext) -> Approved | Denied:
    """Run every gate. Gates that need data which an earlier gate found missing are left out."""
    denials = [*standing(intent, context), *data(intent, context)]
    if context.account is None or context.instrument is None or context.quote is None:
        return _denied(denials, context)
    denials += order(intent, context.instrument, context.quote)
    if intent.close_by_position_id is not None:
        denials += close_by(intent, context, context.account, context.instrument)
    elif intent.position_id is not None:
        denials += reduction(intent, context)
    sized = size(intent, context, context.account, context.instrument, context.quote)
    if isinstance(sized, Denial):
        denials.append(sized)
    elif not intent.reducing:
        denials += limits(intent, sized, context, context.account, context.instrument)
    if denials or isinstance(sized, Denial):
        return _denied(denials, context)
    # What only reduces claims nothing, and passes however full the limits are.
    return sized if intent.reducing else replace(sized, room=room_of(context, context.account))


def _denied(denials: Sequence[Denial], context: RiskContext) -> Denied:
    """The refusals with what mends each, and how old the data was that they went by."""
    ages = {
        "account": None if context.account is None else context.account.read_at,
        "quote": None if context.quote is None else context.quote.read_at,
    }
    ages_ms = {
        name: (context.now - read_at) // timedelta(milliseconds=1)
        for name, read_at in ages.items()
        if read_at is not None
    }
    return Denied(
        denials=tuple(
            replace(
                denial,
                remedy=denial.remedy or REMEDIES[denial.code],
                ages_ms=ages_ms if denial.gate in _BY_MARKET else {},
            )
            for denial in denials
        )
    )


# The gates that go by the account's snapshot and the quotes.
_BY_MARKET = frozenset(
    {
        Gate.ACCOUNT,
        Gate.SESSION,
        Gate.QUOTE,
        Gate.STOP_LOSS,
        Gate.ORDER_VALUE,
        Gate.POSITION_SIZE,
        Gate.GROSS_EXPOSURE,
        Gate.FREE_MARGIN,
        Gate.DAILY_LOSS,
        Gate.ROLLING_LOSS,
    }
)


def claim_of(intent: OrderIntent, context: RiskContext) -> Approved | Denial:
    """What an order would claim, whatever the limits say; or the first missing fact."""
    for denial in (*data(intent, context), *contract(intent, context)):
        return denial
    assert context.account is not None, "a missing account is denied above"
    assert context.quote is not None, "a missing quote is denied above"
    if context.instrument is None:
        return next(tradable(intent, context))
    for denial in order(intent, context.instrument, context.quote):
        return denial
    return size(intent, context, context.account, context.instrument, context.quote)


def recovered_claim(intent: OrderIntent, context: RiskContext) -> Approved | Denial:
    """What an order that may long be at the broker claims, on the last facts known; or the fact that is missing.

    No gate can undo what was sent, so none is asked. A limit that is not set is taken at its dearest.
    """
    if context.account is None:
        return account_unknown()
    if context.instrument is None:
        return next(tradable(intent, context))
    if context.quote is None:
        return quote_missing()
    known = {limit.name for limit in context.limits}
    assumed = tuple(limit for limit in _DEAREST if limit.name not in known)
    context = replace(context, limits=(*context.limits, *assumed))
    assert context.account is not None, "it was looked for above"
    assert context.instrument is not None, "so was the instrument"
    assert context.quote is not None, "and the quote"
    return size(intent, context, context.account, context.instrument, context.quote)


def _assumed(name: LimitName, value: int) -> Limit:
    return Limit(name=name, scope=ControlScope.ACCOUNT, value=Decimal(value), unit=UNITS[name], currency=None)


# Without a collar the price is that of the order or of now; without a stop all of the value may be lost.
_DEAREST = (_assumed(LimitName.PRICE_COLLAR, 0), _assumed(LimitName.STOPLESS_LOSS, 100))
