"""The gates before an order: evaluated together, so that a refusal names every reason at once.

1. A limit that is not set denies.
2. Missing or old data denies; nothing is assumed.
3. Only an order that names its position and fits the position's free volume skips the loss and exposure gates.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from domain.contracts import Contract
from domain.controls import Control, ControlScope
from domain.exposure import CurrencyPair, conversion_rate, entry_price, loss_between, notional, worst_entry_price
from domain.instruments import Instrument, TradeMode
from domain.limits import Limit, LimitName, Usage, daily_loss_used, strictest
from domain.money import ZERO, Currency, Price, round_against_us
from domain.orders import OrderIntent, OrderType, Quote, Side
from domain.positions import Holding, MarginMode
from domain.reservations import Amounts
from domain.watch import FindingKind, Pending


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


@dataclass(frozen=True, kw_only=True)
class AccountState:
    currency: Currency
    margin_mode: MarginMode
    enabled: bool
    user_enabled: bool
    leverage: int
    margin_free: Decimal
    read_at: datetime


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Why nothing can be sent on the account now, and what mends it."""

    kind: FindingKind
    message: str


@dataclass(frozen=True, kw_only=True)
class RiskContext:
    """Everything a decision stands on, read under the locks.

    `conditions` keep the account from trading now; `contract_changes` are those of the symbol that nobody has
    accepted yet.
    `holding` is the position that the order names, `partner` the one by which it closes that; `pairs` are fresh;
    `unvalued` are the symbols of open positions that no rate or instrument puts a number on.
    """

    now: datetime
    data_age_max: timedelta
    controls: tuple[Control, ...]
    account: AccountState | None
    conditions: tuple[Condition, ...]
    instrument: Instrument | None
    instrument_listed: bool
    contract_changes: tuple[Pending, ...]
    instrument_allowed: bool
    quote: Quote | None
    pairs: tuple[CurrencyPair, ...]
    limits: tuple[Limit, ...]
    usages: tuple[Usage, ...]
    unvalued: tuple[str, ...]
    holding: Holding | None
    partner: Holding | None


@dataclass(frozen=True, kw_only=True)
class Approved:
    amounts: Amounts
    currency: Currency
    reference_price: Price
    collar_points: int
    rates: dict[str, Decimal]
    contract: Contract


@dataclass(frozen=True, kw_only=True)
class Denied:
    denials: tuple[Denial, ...]

    @property
    def for_want_of_data(self) -> bool:
        """Whether missing or old data is all that stands against it, so that newer data may change the answer."""
        return all(denial.code in _WANTING for denial in self.denials)


# A market without a tick for so long is closed, or its prices no longer come through.
TICK_AGE_MAX = timedelta(minutes=5)

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
    denials = [*_standing(intent, context), *_data(context)]
    if context.account is None or context.instrument is None or context.quote is None:
        return Denied(denials=tuple(denials))
    denials += _order(intent, context.instrument, context.quote)
    if intent.close_by_position_id is not None:
        denials += _close_by(intent, context, context.account, context.instrument)
    elif intent.position_id is not None:
        denials += _reduction(intent, context)
    sized = _size(intent, context, context.account, context.instrument, context.quote)
    if isinstance(sized, Denial):
        denials.append(sized)
    elif not intent.reducing:
        denials += _limits(sized, context, context.account)
    if denials or isinstance(sized, Denial):
        return Denied(denials=tuple(denials))
    return sized


def claim_of(intent: OrderIntent, context: RiskContext) -> Approved | Denial:
    """What an order would claim, whatever the limits say; or the first missing fact."""
    for denial in (*_data(context), *_contract(intent, context)):
        return denial
    assert context.account is not None, "a missing account is denied above"
    assert context.quote is not None, "a missing quote is denied above"
    if context.instrument is None:
        return next(_tradable(intent, context))
    for denial in _order(intent, context.instrument, context.quote):
        return denial
    return _size(intent, context, context.account, context.instrument, context.quote)


def recovered_claim(intent: OrderIntent, context: RiskContext) -> Approved | Denial:
    """What an order that may long be at the broker claims, on the last facts known; or the fact that is missing.

    No gate can undo what was sent, so none is asked. A limit that is not set is taken at its dearest.
    """
    if context.account is None:
        return _account_unknown()
    if context.instrument is None:
        return next(_tradable(intent, context))
    if context.quote is None:
        return _quote_missing()
    known = {limit.name for limit in context.limits}
    assumed = tuple(limit for limit in _DEAREST if limit.name not in known)
    context = replace(context, limits=(*context.limits, *assumed))
    assert context.account is not None, "it was looked for above"
    assert context.instrument is not None, "so was the instrument"
    assert context.quote is not None, "and the quote"
    return _size(intent, context, context.account, context.instrument, context.quote)


# Without a collar the price is that of the order or of now; without a stop all of the value may be lost.
_DEAREST = (
    Limit(name=LimitName.PRICE_COLLAR, scope=ControlScope.ACCOUNT, value=ZERO, unit="points", currency=None),
    Limit(
        name=LimitName.STOPLESS_LOSS, scope=ControlScope.ACCOUNT, value=Decimal(100), unit="percent", currency=None
    ),
)


def _standing(intent: OrderIntent, context: RiskContext) -> Iterator[Denial]:
    """Whether this user may trade this symbol on this account at all."""
    if context.now >= intent.submit_by:
        late = Decimal((context.now - intent.submit_by) // timedelta(milliseconds=1))
        yield Denial(
            gate=Gate.DEADLINE,
            code="submit_deadline_passed",
            message="the order could not be sent before its submit deadline",
            value=late,
            unit="ms",
        )
    for control in context.controls:
        if control.blocks(reducing=intent.reducing):
            what = "everything" if control.scope is ControlScope.ALL else f"{control.scope} {control.scope_id}"
            yield Denial(
                gate=Gate.CONTROL,
                code=f"trading_{control.state}",
                message=f"trading is {control.state} for {what}: {control.reason}",
            )
    if context.account is not None and not context.account.enabled:
        yield Denial(gate=Gate.ACCOUNT, code="account_disabled", message="the account is disabled")
    if context.account is not None and not context.account.user_enabled:
        yield Denial(gate=Gate.ACCOUNT, code="user_disabled", message="the user is disabled")
    yield from _tradable(intent, context)


def _tradable(intent: OrderIntent, context: RiskContext) -> Iterator[Denial]:
    instrument = context.instrument
    if instrument is None:
        yield Denial(
            gate=Gate.INSTRUMENT, code="symbol_unknown", message=f"the broker lists no symbol {intent.symbol}"
        )
        return
    yield from _contract(intent, context)
    if not context.instrument_allowed:
        yield Denial(
            gate=Gate.INSTRUMENT, code="symbol_not_allowed", message=f"{intent.symbol} is not allowed here"
        )
    mode = instrument.trade_mode
    refused = (
        mode is TradeMode.DISABLED
        or (mode is TradeMode.CLOSE_ONLY and not intent.reducing)
        or (mode is TradeMode.LONG_ONLY and intent.side is Side.SELL and not intent.reducing)
        or (mode is TradeMode.SHORT_ONLY and intent.side is Side.BUY and not intent.reducing)
    )
    if refused:
        yield Denial(
            gate=Gate.INSTRUMENT, code="symbol_not_tradable", message=f"the broker has {intent.symbol} {mode} now"
        )
    if intent.close_by_position_id is None and intent.order_type not in instrument.order_types:
        yield Denial(
            gate=Gate.INSTRUMENT,
            code="order_type_not_offered",
            message=f"the broker takes no {intent.order_type} orders in {intent.symbol}",
        )


def _contract(intent: OrderIntent, context: RiskContext) -> Iterator[Denial]:
    """Whether the symbol still means what it meant; what reduces is let through, so that nothing is locked in."""
    if intent.reducing:
        return
    if context.instrument is not None and not context.instrument_listed:
        yield Denial(
            gate=Gate.CONTRACT,
            code=FindingKind.SYMBOL_VANISHED,
            message=f"the broker lists no {intent.symbol} any more",
        )
        return
    for change in context.contract_changes:
        yield Denial(
            gate=Gate.CONTRACT,
            code=FindingKind.CONTRACT_CHANGED,
            message=f"{change.term} of {change.symbol} is {change.shown} instead of {change.was}; "
            f"a person has to accept that: nexus contracts accept {change.symbol}",
        )


def _data(context: RiskContext) -> Iterator[Denial]:
    """Whether orders can go at all, and the facts that the other gates need are here and fresh."""
    for condition in context.conditions:
        yield Denial(gate=Gate.ACCOUNT, code=condition.kind, message=condition.message)
    account = context.account
    if account is None:
        yield _account_unknown()
    else:
        yield from _aged(Gate.ACCOUNT, "account_stale", "the account snapshot", account.read_at, context)
    if context.quote is None:
        yield _quote_missing()
    else:
        yield from _aged(Gate.QUOTE, "quote_stale", "the quote", context.quote.read_at, context)
        still = context.now - context.quote.at
        if still > TICK_AGE_MAX:
            yield Denial(
                gate=Gate.QUOTE,
                code="market_still",
                message=f"the market has not moved for {still // timedelta(seconds=1)} s; it may be closed",
            )


def _account_unknown() -> Denial:
    return Denial(gate=Gate.ACCOUNT, code="account_unknown", message="no account snapshot has been read yet")


def _quote_missing() -> Denial:
    return Denial(gate=Gate.QUOTE, code="quote_missing", message="there is no quote for this symbol")


def _aged(gate: Gate, code: str, what: str, read_at: datetime, context: RiskContext) -> Iterator[Denial]:
    age = context.now - read_at
    if age > context.data_age_max:
        millisecond = timedelta(milliseconds=1)
        value, limit = Decimal(age // millisecond), Decimal(context.data_age_max // millisecond)
        yield Denial(
            gate=gate,
            code=code,
            message=f"{what} is {value} ms old",
            limit=limit,
            value=value,
            distance=value - limit,
            unit="ms",
        )


def _order(intent: OrderIntent, instrument: Instrument, quote: Quote) -> Iterator[Denial]:
    """Whether sizes and prices are ones that the broker takes."""
    fault = instrument.volume_fault(intent.volume)
    if fault is not None:
        yield Denial(
            gate=Gate.VOLUME, code="volume_invalid", message=f"volume {fault}", value=intent.volume, unit="lots"
        )
    for name, price in (
        ("price", intent.price),
        ("stop_limit_price", intent.stop_limit_price),
        ("stop_loss", intent.stop_loss),
        ("take_profit", intent.take_profit),
    ):
        fault = None if price is None else instrument.price_fault(price)
        if fault is not None:
            yield Denial(gate=Gate.PRICE, code="price_invalid", message=f"{name} {fault}", value=price)
    # A market order's stop is measured from the price at which it could be closed again.
    entry = quote.to_close(intent.side) if intent.order_type is OrderType.MARKET else entry_price(intent, quote)
    for name, level, sign in (("stop_loss", intent.stop_loss, 1), ("take_profit", intent.take_profit, -1)):
        if level is not None and (entry - level) * intent.side.sign * sign <= 0:
            yield Denial(
                gate=Gate.STOP_LOSS,
                code="stops_invalid",
                message=f"{name} {level} is on the wrong side of {entry}",
                limit=entry,
                value=level,
            )


def _reduction(intent: OrderIntent, context: RiskContext) -> Iterator[Denial]:
    if not intent.reducing:
        yield Denial(
            gate=Gate.POSITION,
            code="position_needs_market_order",
            message=f"a {intent.order_type} order cannot reduce a position; send a market order",
        )
        return
    holding = context.holding
    if holding is None or not holding.is_open_to(intent.user_id):
        yield _not_open(intent.position_id)
        return
    position = holding.position
    if position.symbol != intent.symbol or position.side is intent.side:
        yield Denial(
            gate=Gate.POSITION,
            code="position_not_reduced",
            message=f"{intent.side} {intent.symbol} does not reduce {position.side} {position.symbol}",
        )
    yield from _fits(intent, holding)


def _close_by(
    intent: OrderIntent, context: RiskContext, account: AccountState, instrument: Instrument
) -> Iterator[Denial]:
    """Two opposite positions of the user, none of whose common lots another close holds."""
    if account.margin_mode is not MarginMode.HEDGING:
        yield Denial(
            gate=Gate.POSITION,
            code="close_by_needs_hedging",
            message="the account keeps one position for each symbol, so none can close another",
        )
        return
    if not instrument.close_by:
        yield Denial(
            gate=Gate.INSTRUMENT,
            code="close_by_not_offered",
            message=f"the broker closes no position in {intent.symbol} by another one",
        )
    holding, partner = context.holding, context.partner
    if holding is None or holding.owner != intent.user_id:
        yield _not_open(intent.position_id)
    if partner is None or partner.owner != intent.user_id:
        yield _not_open(intent.close_by_position_id)
    if holding is None or partner is None or {holding.owner, partner.owner} != {intent.user_id}:
        return
    position, other = holding.position, partner.position
    opposite = position.side is not intent.side and other.side is intent.side
    if {position.symbol, other.symbol} != {intent.symbol} or not opposite:
        yield Denial(
            gate=Gate.POSITION,
            code="positions_not_opposite",
            message=f"{position.side} {position.symbol} is not closed by {other.side} {other.symbol}",
        )
    for each in (holding, partner):
        yield from _fits(intent, each)
    # The broker takes no volume: it closes all that both have in common.
    common = min(position.volume, other.volume)
    if intent.volume < common:
        yield Denial(
            gate=Gate.POSITION,
            code="close_by_volume",
            message=f"the positions have {common} lots in common by now, {intent.volume} were asked for",
            limit=common,
            value=intent.volume,
            distance=common - intent.volume,
            unit="lots",
        )


def _not_open(position_id: int | None) -> Denial:
    return Denial(gate=Gate.POSITION, code="position_not_open", message=f"position {position_id} is not open")


def _fits(intent: OrderIntent, holding: Holding) -> Iterator[Denial]:
    if intent.volume > holding.free:
        yield Denial(
            gate=Gate.POSITION,
            code="position_volume_exceeded",
            message=f"only {holding.free} lots of position {holding.position.position_id} are free to close",
            limit=holding.free,
            value=intent.volume,
            distance=intent.volume - holding.free,
            unit="lots",
        )


def _size(
    intent: OrderIntent, context: RiskContext, account: AccountState, instrument: Instrument, quote: Quote
) -> Approved | Denial:
    """What the order claims, or the one missing fact without which that cannot be said."""
    rate = conversion_rate(instrument.currency_profit, account.currency, context.pairs)
    if rate is None:
        return Denial(
            gate=Gate.QUOTE,
            code="rate_missing",
            message=f"no quote converts {instrument.currency_profit} to {account.currency}",
        )
    limit = strictest(context.limits, LimitName.PRICE_COLLAR)
    if limit is None:
        return _unset(LimitName.PRICE_COLLAR, Gate.PRICE)
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
        return _unset(LimitName.STOPLESS_LOSS, Gate.STOP_LOSS)
    return round_against_us(value * stopless.value / 100)


def _limits(sized: Approved, context: RiskContext, account: AccountState) -> Iterator[Denial]:
    if context.unvalued:
        yield Denial(
            gate=Gate.POSITION_SIZE,
            code="exposure_unknown",
            message=f"open positions in {', '.join(context.unvalued)} cannot be valued",
        )
    held_margin = sum((u.held_margin for u in context.usages if u.scope is ControlScope.ACCOUNT), ZERO)
    free = account.margin_free - held_margin
    if sized.amounts.margin > free:
        yield _over(Gate.FREE_MARGIN, "margin_insufficient", sized.amounts.margin, free, account.currency)
    for name, gate in ((LimitName.DAILY_LOSS, Gate.DAILY_LOSS), (LimitName.POSITION_SIZE, Gate.POSITION_SIZE)):
        limits = [limit for limit in context.limits if limit.name is name]
        if not limits:
            yield _unset(name, gate)
        for limit in limits:
            yield from _limit(gate, limit, sized, context)


def _limit(gate: Gate, limit: Limit, sized: Approved, context: RiskContext) -> Iterator[Denial]:
    if limit.currency != sized.currency:
        yield Denial(
            gate=gate,
            code="limit_currency",
            message=f"{limit.name} is set in {limit.currency}, the account is kept in {sized.currency}",
        )
        return
    for usage in context.usages:
        if usage.scope is not limit.scope:
            continue
        value = (
            daily_loss_used(usage) + sized.amounts.loss
            if gate is Gate.DAILY_LOSS
            else usage.symbol_notional + sized.amounts.notional
        )
        if value > limit.value:
            yield _over(gate, f"{limit.name}_exceeded", value, limit.value, sized.currency)


def _unset(name: LimitName, gate: Gate) -> Denial:
    return Denial(gate=gate, code="limit_unset", message=f"the limit {name} is not set, so nothing passes it")


def _over(gate: Gate, code: str, value: Decimal, limit: Decimal, currency: Currency) -> Denial:
    return Denial(
        gate=gate,
        code=code,
        message=f"{gate} would be {value} {currency} against {limit} {currency}",
        limit=limit,
        value=value,
        distance=value - limit,
        unit=currency,
    )
