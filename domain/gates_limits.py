"""Whether what the order claims fits the limits, beside all that counts against them already."""

from collections.abc import Iterator

from domain.controls import ControlScope
from domain.gates import Denial, Gate, over, unset
from domain.limits import Limit, LimitName, daily_loss_used
from domain.money import ZERO
from domain.risk_context import AccountState, RiskContext
from domain.sizing import Approved


def limits(sized: Approved, context: RiskContext, account: AccountState) -> Iterator[Denial]:
    if context.unvalued:
        yield Denial(
            gate=Gate.POSITION_SIZE,
            code="exposure_unknown",
            message=f"open positions in {', '.join(context.unvalued)} cannot be valued",
        )
    held_margin = sum((u.held_margin for u in context.usages if u.scope is ControlScope.ACCOUNT), ZERO)
    free = account.margin_free - held_margin
    if sized.amounts.margin > free:
        yield over(Gate.FREE_MARGIN, "margin_insufficient", sized.amounts.margin, free, account.currency)
    for name, gate in ((LimitName.DAILY_LOSS, Gate.DAILY_LOSS), (LimitName.POSITION_SIZE, Gate.POSITION_SIZE)):
        limits = [limit for limit in context.limits if limit.name is name]
        if not limits:
            yield unset(name, gate)
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
            yield over(gate, f"{limit.name}_exceeded", value, limit.value, sized.currency)
