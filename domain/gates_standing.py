"""Whether this user may trade this symbol on this account at all, and the facts to judge by are here and fresh."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from domain.controls import ControlScope
from domain.gates import Denial, Gate
from domain.instruments import TradeMode
from domain.orders import OrderIntent, Side
from domain.risk_context import RiskContext
from domain.watch import FindingKind

# A market without a tick for so long is closed, or its prices no longer come through.
TICK_AGE_MAX = timedelta(minutes=5)


def standing(intent: OrderIntent, context: RiskContext) -> Iterator[Denial]:
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
        if control.blocks(reducing=intent.reducing, stopping=intent.stopping):
            what = "everything" if control.scope is ControlScope.ALL else f"{control.scope} {control.scope_id}"
            yield Denial(
                gate=Gate.CONTROL,
                code=f"trading_{control.state}",
                message=f"trading is {control.state} for {what}: {control.reason}",
            )
    if context.account is not None and not context.account.enabled and not intent.stopping:
        yield Denial(gate=Gate.ACCOUNT, code="account_disabled", message="the account is disabled")
    if context.account is not None and not context.account.user_enabled and not intent.stopping:
        yield Denial(gate=Gate.ACCOUNT, code="user_disabled", message="the user is disabled")
    if context.account is not None and context.account.unreconciled_since is not None and not intent.reducing:
        yield Denial(
            gate=Gate.ACCOUNT,
            code="not_reconciled",
            message="the account was taken up anew and its books have not been compared with the broker yet",
        )
    yield from tradable(intent, context)


def tradable(intent: OrderIntent, context: RiskContext) -> Iterator[Denial]:
    instrument = context.instrument
    if instrument is None:
        yield Denial(
            gate=Gate.INSTRUMENT, code="symbol_unknown", message=f"the broker lists no symbol {intent.symbol}"
        )
        return
    yield from contract(intent, context)
    if not context.instrument_allowed and not intent.stopping:
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


def contract(intent: OrderIntent, context: RiskContext) -> Iterator[Denial]:
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


def data(intent: OrderIntent, context: RiskContext) -> Iterator[Denial]:
    """Whether orders can go at all, and the facts that the other gates need are here and fresh.

    A stop's own close is sent into a market that seems still: the broker says whether it is closed.
    """
    for condition in context.conditions:
        yield Denial(gate=Gate.ACCOUNT, code=condition.kind, message=condition.message)
    account = context.account
    if account is None:
        yield account_unknown()
    else:
        yield from _aged(Gate.ACCOUNT, "account_stale", "the account snapshot", account.read_at, context)
    if context.quote is None:
        yield quote_missing()
    else:
        yield from _aged(Gate.QUOTE, "quote_stale", "the quote", context.quote.read_at, context)
        still = context.now - context.quote.at
        if still > TICK_AGE_MAX and not intent.stopping:
            yield Denial(
                gate=Gate.SESSION,
                code="market_still",
                message=f"the market has not moved for {still // timedelta(seconds=1)} s; it may be closed",
            )


def account_unknown() -> Denial:
    return Denial(gate=Gate.ACCOUNT, code="account_unknown", message="no account snapshot has been read yet")


def quote_missing() -> Denial:
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
