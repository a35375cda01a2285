"""What an order claims: its value, its worst loss and its margin, in the account's currency."""

from dataclasses import dataclass
from decimal import Decimal

from domain.contracts import Contract
from domain.exposure import conversion_rate, entry_price, loss_between, notional, worst_entry_price
from domain.gates import Denial, Gate, unset
from domain.instruments import Instrument
from domain.limits import LimitName, strictest
from domain.money import ZERO, Currency, Price, round_against_us
from domain.orders import OrderIntent, Quote
from domain.reservations import Amounts
from domain.risk_context import AccountState, RiskContext

# Where no collar is set, a stop's close takes a price that is worse by this part: to be flat comes first.
STOP_COLLAR = Decimal("0.01")


@dataclass(frozen=True, kw_only=True)
class Room:
    """The most that a user's reservations may hold together, this one included; None where no limit says."""

    loss: Decimal | None
    notional: Decimal | None
    margin: Decimal | None


@dataclass(frozen=True, kw_only=True)
class Approved:
    """`room` is known once every gate has passed; the database holds the total against it once more."""

    amounts: Amounts
    currency: Currency
    reference_price: Price
    collar_points: int
    rates: dict[str, Decimal]
    contract: Contract
    room: Room | None = None


def size(
    intent: OrderIntent, context: RiskContext, account: AccountState, instrument: Instrument, quote: Quote
) -> Approved | Denial:
    """What the order claims, or the one missing fact without which that cannot be said."""
    if intent.stopping:
        return _closing(intent, context, account, instrument, quote)
    rate = conversion_rate(instrument.currency_profit, account.currency, context.pairs)
    if rate is None:
        return Denial(
            gate=Gate.QUOTE,
            code="rate_missing",
            message=f"no quote converts {instrument.currency_profit} to {account.currency}",
        )
    limit = strictest(context.limits, LimitName.PRICE_COLLAR)
    if limit is None:
        return unset(LimitName.PRICE_COLLAR, Gate.PRICE)
    asked = intent.max_slippage_points
    collar = int(limit.value) if asked is None else min(asked, int(limit.value))
    reference = _reference(intent, context, quote)
    worst = worst_entry_price(intent, quote, collar_points=collar, point=instrument.point)
    value = notional(instrument, volume=intent.volume, price=max(reference, worst), rate=rate)
    loss = _worst_loss(intent, context, instrument, entry=worst, rate=rate, value=value)
    if isinstance(loss, Denial):
        return loss
    reducing = intent.reducing
    return Approved(
        amounts=Amounts(
            volume=intent.volume,
            loss=ZERO if reducing else loss,
            notional=ZERO if reducing else value,
            margin=ZERO if reducing else round_against_us(value / account.leverage),
        ),
        currency=account.currency,
        reference_price=reference,
        collar_points=collar,
        rates={f"{instrument.currency_profit}{account.currency}": rate},
        contract=instrument.contract,
    )


def _closing(
    intent: OrderIntent, context: RiskContext, account: AccountState, instrument: Instrument, quote: Quote
) -> Approved:
    """A stop's own close claims nothing, so that neither a missing rate nor an unset limit keeps it from going."""
    limit = strictest(context.limits, LimitName.PRICE_COLLAR)
    reference = _reference(intent, context, quote)
    widest = int(reference * STOP_COLLAR / instrument.point)
    return Approved(
        amounts=Amounts(volume=intent.volume, loss=ZERO, notional=ZERO, margin=ZERO),
        currency=account.currency,
        reference_price=reference,
        collar_points=widest if limit is None else int(limit.value),
        rates={},
        contract=instrument.contract,
    )


def _reference(intent: OrderIntent, context: RiskContext, quote: Quote) -> Price:
    """The price at which the order is expected to be filled."""
    if intent.close_by_position_id is not None and context.partner is not None:
        # Two positions close each other at the price at which the other one was opened.
        return context.partner.position.price_open
    return entry_price(intent, quote)


def _worst_loss(
    intent: OrderIntent,
    context: RiskContext,
    instrument: Instrument,
    *,
    entry: Price,
    rate: Decimal,
    value: Decimal,
) -> Decimal | Denial:
    if intent.stop_loss is not None:
        return loss_between(
            instrument, intent.side, volume=intent.volume, entry=entry, exit_price=intent.stop_loss, rate=rate
        )
    stopless = strictest(context.limits, LimitName.STOPLESS_LOSS)
    if intent.reducing:
        return ZERO
    if stopless is None:
        return unset(LimitName.STOPLESS_LOSS, Gate.STOP_LOSS)
    return round_against_us(value * stopless.value / 100)
