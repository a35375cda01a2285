"""Whether what the order claims fits the limits, beside all that counts against them already."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from domain.controls import ControlScope
from domain.gates import Denial, Gate, over, unset
from domain.instruments import Instrument
from domain.limits import Limit, LimitName, LimitUnit, Usage, daily_loss_used, rolling_loss_used, strictest
from domain.money import ZERO, Lots, floor_to_step
from domain.orders import OrderIntent
from domain.reservations import Amounts
from domain.risk_context import AccountState, RiskContext
from domain.sizing import Approved, Room


@dataclass(frozen=True, kw_only=True)
class _Measure:
    """What one limit measures: what is used of it already, and what the order adds."""

    gate: Gate
    used: Callable[[Usage], Decimal]
    added: Callable[[Amounts], Decimal]


@dataclass(frozen=True, kw_only=True)
class _Count:
    """What one limit counts, the order itself included, and what would let it pass."""

    gate: Gate
    of: Callable[[Usage], int]
    remedy: str


_BY_SIZE: dict[LimitName, _Measure] = {
    LimitName.DAILY_LOSS: _Measure(gate=Gate.DAILY_LOSS, used=daily_loss_used, added=lambda claim: claim.loss),
    LimitName.ROLLING_LOSS: _Measure(
        gate=Gate.ROLLING_LOSS, used=rolling_loss_used, added=lambda claim: claim.loss
    ),
    LimitName.ORDER_VALUE: _Measure(
        gate=Gate.ORDER_VALUE, used=lambda _: ZERO, added=lambda claim: claim.notional
    ),
    LimitName.POSITION_SIZE: _Measure(
        gate=Gate.POSITION_SIZE, used=lambda usage: usage.symbol_notional, added=lambda claim: claim.notional
    ),
    LimitName.GROSS_EXPOSURE: _Measure(
        gate=Gate.GROSS_EXPOSURE, used=lambda usage: usage.gross_notional, added=lambda claim: claim.notional
    ),
}

_BY_COUNT: dict[LimitName, _Count] = {
    LimitName.OPEN_ORDERS: _Count(
        gate=Gate.OPEN_ORDERS,
        of=lambda usage: usage.open_orders + 1,
        remedy="cancel a working order, or wait until one is done",
    ),
    LimitName.OPEN_POSITIONS: _Count(
        gate=Gate.OPEN_POSITIONS, of=lambda usage: usage.open_positions, remedy="close a position first"
    ),
    LimitName.MESSAGE_RATE: _Count(
        gate=Gate.MESSAGE_RATE,
        of=lambda usage: usage.messages,
        remedy="wait until fewer orders lie within a minute",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a limit is used: `used` before the order, `added` by it, in the limit's unit."""

    limit: Limit
    used: Decimal
    added: Decimal

    @property
    def left(self) -> Decimal:
        return self.limit.value - self.used - self.added


def standings(context: RiskContext, claim: Amounts | None) -> Iterator[Standing]:
    """Every limit that something counts against, with what an order of this claim would add; None for no order."""
    for limit in context.limits:
        for usage in context.usages:
            if usage.scope is not limit.scope:
                continue
            if limit.name in _BY_SIZE:
                measure = _BY_SIZE[limit.name]
                added = ZERO if claim is None else measure.added(claim)
                yield Standing(limit=limit, used=measure.used(usage), added=added)
            elif limit.name in _BY_COUNT:
                used = Decimal(_BY_COUNT[limit.name].of(usage) - 1)
                yield Standing(limit=limit, used=used, added=Decimal(claim is not None))


def room_of(context: RiskContext, account: AccountState) -> Room:
    """How much the user's reservations may hold in all, so that no limit of user or account is overstepped."""
    held = {usage.scope: usage for usage in context.usages}
    mine, whole = held.get(ControlScope.USER), held.get(ControlScope.ACCOUNT)
    if mine is None or whole is None:
        return Room(loss=None, notional=None, margin=None)

    def least(names: tuple[LimitName, ...], own: Callable[[Usage], Decimal]) -> Decimal | None:
        rooms = [
            limit.value - (_BY_SIZE[limit.name].used(usage) - own(mine))
            for limit in context.limits
            for usage in context.usages
            if limit.name in names and usage.scope is limit.scope
        ]
        return min(rooms, default=None)

    return Room(
        loss=least((LimitName.DAILY_LOSS, LimitName.ROLLING_LOSS), lambda usage: usage.held_loss),
        notional=least((LimitName.GROSS_EXPOSURE,), lambda usage: usage.held_notional),
        margin=account.margin_free - (whole.held_margin - mine.held_margin),
    )


def limits(
    intent: OrderIntent,
    sized: Approved,
    context: RiskContext,
    account: AccountState,
    instrument: Instrument,
) -> Iterator[Denial]:
    if context.unvalued:
        yield Denial(
            gate=Gate.GROSS_EXPOSURE,
            code="exposure_unknown",
            message=f"open positions in {', '.join(context.unvalued)} cannot be valued",
            remedy="wait for their quotes, or for a pair that converts their currency",
        )
    held_margin = sum((u.held_margin for u in context.usages if u.scope is ControlScope.ACCOUNT), ZERO)
    free = account.margin_free - held_margin
    if sized.amounts.margin > free:
        yield over(
            Gate.FREE_MARGIN,
            code="margin_insufficient",
            value=sized.amounts.margin,
            limit=free,
            unit=account.currency,
            remedy=_smaller(instrument, sized, added=sized.amounts.margin, free=free),
        )
    for name, measure in _BY_SIZE.items():
        judge = partial(_sized, measure, sized=sized, context=context, instrument=instrument)
        yield from _each(context, name, measure.gate, judge)
    for name, count in _BY_COUNT.items():
        yield from _each(context, name, count.gate, partial(_counted, count, context=context))
    yield from _duplicates(intent, context)


def _each(
    context: RiskContext, name: LimitName, gate: Gate, judge: Callable[[Limit], Iterator[Denial]]
) -> Iterator[Denial]:
    """Every scope that sets the limit is judged; where none does, nothing passes."""
    found = [limit for limit in context.limits if limit.name is name]
    if not found:
        yield unset(name, gate)
    for limit in found:
        yield from judge(limit)


def _sized(
    measure: _Measure, limit: Limit, *, sized: Approved, context: RiskContext, instrument: Instrument
) -> Iterator[Denial]:
    if limit.currency != sized.currency:
        yield Denial(
            gate=measure.gate,
            code="limit_currency",
            message=f"{limit.name} is set in {limit.currency}, the account is kept in {sized.currency}",
            remedy=f"set {limit.name} in {sized.currency}",
        )
        return
    for usage in context.usages:
        if usage.scope is not limit.scope:
            continue
        used, added = measure.used(usage), measure.added(sized.amounts)
        if used + added > limit.value:
            yield over(
                measure.gate,
                code=f"{limit.name}_exceeded",
                value=used + added,
                limit=limit.value,
                unit=sized.currency,
                remedy=_smaller(instrument, sized, added=added, free=limit.value - used),
            )


def _smaller(instrument: Instrument, sized: Approved, *, added: Decimal, free: Decimal) -> str:
    """The largest volume that passes, what an order claims being in proportion to its volume."""
    volume = sized.amounts.volume
    fits = floor_to_step(Lots(max(ZERO, volume * free / added)), instrument.volume_step)
    if fits >= instrument.volume_min:
        return f"{fits} lots would pass"
    least, left = instrument.volume_min, max(ZERO, free)
    return f"no volume passes: the least, {least} lots, needs {added * least / volume:.2f}, and {left:.2f} is left"


def _counted(count: _Count, limit: Limit, *, context: RiskContext) -> Iterator[Denial]:
    for usage in context.usages:
        value = Decimal(count.of(usage))
        if usage.scope is limit.scope and value > limit.value:
            yield over(
                count.gate,
                code=f"{limit.name}_exceeded",
                value=value,
                limit=limit.value,
                unit=LimitUnit.COUNT,
                remedy=count.remedy,
            )


def _duplicates(intent: OrderIntent, context: RiskContext) -> Iterator[Denial]:
    """Whether the same order was sent just before, or has been executed over and over."""
    window = strictest(context.limits, LimitName.DUPLICATE_WINDOW)
    age = context.repeats.last_age_seconds
    if window is None:
        yield unset(LimitName.DUPLICATE_WINDOW, Gate.DUPLICATE)
    elif age is not None and age < window.value and not intent.allow_duplicate:
        yield Denial(
            gate=Gate.DUPLICATE,
            code="duplicate_order",
            message=f"the same order was sent {age:.1f} s ago, within {window.value} s",
            limit=window.value,
            value=age,
            distance=window.value - age,
            unit=LimitUnit.SECONDS,
            remedy=f'if it is meant, send it with "allow_duplicate": true, or in {window.value - age:.1f} s',
        )
    throttle = strictest(context.limits, LimitName.REPEATED_EXECUTIONS)
    repeated = Decimal(context.repeats.executed + 1)
    if throttle is None:
        yield unset(LimitName.REPEATED_EXECUTIONS, Gate.REPEATED_EXECUTION)
    elif repeated > throttle.value:
        yield over(
            Gate.REPEATED_EXECUTION,
            code="repeated_executions_exceeded",
            value=repeated,
            limit=throttle.value,
            unit=LimitUnit.COUNT,
            remedy="wait until fewer of the same were executed within ten minutes",
        )
