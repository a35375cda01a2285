"""Every gate passes at its bound and denies one step beyond it; whatever is missing or old denies."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.controls import Control, ControlScope, ControlState
from domain.gates import Denial, Gate
from domain.instruments import TradeMode
from domain.limits import LimitName
from domain.money import CENT, Currency
from domain.orders import OrderIntent, OrderType, Side
from domain.risk import Denied, claim_of, evaluate
from domain.risk_context import RiskContext
from domain.sizing import Approved
from tests.factories import (
    LIMITS,
    NOW,
    lots,
    make_account,
    make_context,
    make_instrument,
    make_intent,
    make_limit,
    make_pair,
    make_quote,
    make_usage,
    price,
)
from tests.strategies import cents, claims

# Of the order of make_intent() at 1.10010, with a collar of 200 points and 2 percent assumed to be lost.
VALUE, LOSS, MARGIN = Decimal("11021.00"), Decimal("220.42"), Decimal("110.21")


def codes(intent: OrderIntent, context: RiskContext) -> list[str]:
    match evaluate(intent, context):
        case Approved():
            return []
        case Denied(denials=denials):
            return [denial.code for denial in denials]


def limits_with(name: LimitName, value: str | None) -> dict[str, Any]:
    """The usual limits with one at another value, or without it."""
    others = tuple(limit for limit in LIMITS if limit.name is not name)
    return {"limits": others if value is None else (*others, make_limit(name, value))}


def only_denial(intent: OrderIntent, context: RiskContext) -> Denial:
    answer = evaluate(intent, context)
    assert isinstance(answer, Denied)
    (denial,) = answer.denials
    return denial


def test_an_order_in_order_is_approved_with_what_it_claims() -> None:
    approved = evaluate(make_intent(), make_context())

    assert isinstance(approved, Approved)
    amounts = approved.amounts
    assert (amounts.volume, amounts.notional, amounts.loss, amounts.margin) == (lots("0.10"), VALUE, LOSS, MARGIN)
    assert (approved.currency, approved.reference_price, approved.collar_points) == ("USD", price("1.10010"), 200)
    assert approved.rates == {"USDUSD": Decimal(1)}


def test_an_order_is_in_time_until_its_deadline() -> None:
    deadline = NOW + timedelta(milliseconds=1)

    assert codes(make_intent(submit_by=deadline), make_context()) == []
    assert codes(make_intent(submit_by=NOW), make_context()) == ["submit_deadline_passed"]


@pytest.mark.parametrize(("state", "denied"), [("active", False), ("reduce_only", True), ("halted", True)])
@pytest.mark.parametrize("scope", list(ControlScope))
def test_a_stop_of_any_scope_denies(scope: ControlScope, state: str, *, denied: bool) -> None:
    control = Control(scope=scope, scope_id="x", state=ControlState(state), reason="a person said so")
    assert codes(make_intent(), make_context(controls=(control,))) == ([f"trading_{state}"] if denied else [])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"enabled": False}, "account_disabled"),
        ({"user_enabled": False}, "user_disabled"),
    ],
)
def test_account_and_user_must_be_let_to_trade(change: dict[str, Any], code: str) -> None:
    assert codes(make_intent(), make_context(account=make_account(**change))) == [code]


def test_the_symbol_must_be_known_and_allowed() -> None:
    assert codes(make_intent(), make_context(instrument=None)) == ["symbol_unknown"]
    assert codes(make_intent(), make_context(instrument_allowed=False)) == ["symbol_not_allowed"]


@pytest.mark.parametrize(
    ("mode", "side", "denied"),
    [
        (TradeMode.DISABLED, Side.BUY, True),
        (TradeMode.CLOSE_ONLY, Side.BUY, True),
        (TradeMode.LONG_ONLY, Side.BUY, False),
        (TradeMode.LONG_ONLY, Side.SELL, True),
        (TradeMode.SHORT_ONLY, Side.SELL, False),
        (TradeMode.SHORT_ONLY, Side.BUY, True),
    ],
)
def test_the_brokers_trade_mode_binds(mode: TradeMode, side: Side, *, denied: bool) -> None:
    context = make_context(instrument=make_instrument(trade_mode=mode))
    assert codes(make_intent(side=side), context) == (["symbol_not_tradable"] if denied else [])


def test_the_broker_must_offer_the_order_type() -> None:
    context = make_context(instrument=make_instrument(order_types=(OrderType.MARKET,)))
    resting = make_intent(order_type=OrderType.LIMIT, price=price("1.09"))
    assert codes(resting, context) == ["order_type_not_offered"]


@pytest.mark.parametrize(("age_ms", "fresh"), [(5_000, True), (5_001, False)])
def test_data_is_good_up_to_its_age_and_no_longer(age_ms: int, *, fresh: bool) -> None:
    read_at = NOW - timedelta(milliseconds=age_ms)

    assert codes(make_intent(), make_context(quote=make_quote(read_at=read_at))) == (
        [] if fresh else ["quote_stale"]
    )
    account = make_account(read_at=read_at)
    assert codes(make_intent(), make_context(account=account)) == ([] if fresh else ["account_stale"])


def test_missing_data_denies_and_nothing_is_assumed() -> None:
    assert codes(make_intent(), make_context(quote=None)) == ["quote_missing"]
    assert codes(make_intent(), make_context(account=None)) == ["account_unknown"]
    yen = make_instrument(currency_profit=Currency("JPY"))
    assert codes(make_intent(), make_context(instrument=yen)) == ["rate_missing"]
    assert codes(make_intent(), make_context(unvalued=("XAUUSD",))) == ["exposure_unknown"]


def test_a_denial_says_whether_newer_data_could_change_it() -> None:
    wanting = evaluate(make_intent(), make_context(quote=None))
    refused = evaluate(make_intent(volume=lots("0.015")), make_context())

    assert isinstance(wanting, Denied)
    assert isinstance(refused, Denied)
    assert (wanting.for_want_of_data, refused.for_want_of_data) == (True, False)
    # A position that was opened a moment ago shows in the next reading.
    early = evaluate(make_intent(position_id=7001), make_context())
    assert isinstance(early, Denied)
    assert early.for_want_of_data


@pytest.mark.parametrize("volume", ["0.009", "0.015", "100.01"])
def test_volume_must_fit_the_brokers_rules(volume: str) -> None:
    assert "volume_invalid" in codes(make_intent(volume=lots(volume)), make_context())


@pytest.mark.parametrize("field", ["price", "stop_loss", "take_profit"])
def test_every_price_must_lie_on_the_tick(field: str) -> None:
    levels = {"price": price("1.09"), "stop_loss": price("1.08"), "take_profit": price("1.12")}
    levels[field] = price(f"{levels[field]}0005")
    context = make_context(instrument=make_instrument(tick_size=Decimal("0.00010")))

    assert codes(make_intent(order_type=OrderType.LIMIT, **levels), context) == ["price_invalid"]


@pytest.mark.parametrize(
    ("side", "stop_loss", "take_profit", "fits"),
    [
        # A market order's levels are measured from the price at which it could be closed: 1.10000 or 1.10010.
        (Side.BUY, "1.09999", "1.10001", True),
        (Side.BUY, "1.10000", None, False),
        (Side.BUY, None, "1.10000", False),
        (Side.SELL, "1.10011", "1.10009", True),
        (Side.SELL, "1.10010", None, False),
        (Side.SELL, None, "1.10010", False),
    ],
)
def test_stops_must_lie_on_their_own_side(
    side: Side, stop_loss: str | None, take_profit: str | None, *, fits: bool
) -> None:
    levels = {"stop_loss": stop_loss, "take_profit": take_profit}
    given_levels = {name: price(text) for name, text in levels.items() if text is not None}
    intent = make_intent(side=side, **given_levels)
    assert codes(intent, make_context()) == ([] if fits else ["stops_invalid"])


@pytest.mark.parametrize("name", list(LimitName))
def test_a_limit_that_is_not_set_denies(name: LimitName) -> None:
    assert codes(make_intent(), make_context(**limits_with(name, None))) == ["limit_unset"]


@pytest.mark.parametrize(("name", "claim"), [(LimitName.DAILY_LOSS, LOSS), (LimitName.POSITION_SIZE, VALUE)])
@pytest.mark.parametrize("scope", [ControlScope.ACCOUNT, ControlScope.USER])
def test_a_limit_passes_at_its_bound_and_denies_a_cent_beyond(
    name: LimitName, claim: Decimal, scope: ControlScope
) -> None:
    others = tuple(limit for limit in LIMITS if limit.name is not name)
    at_bound = make_limit(name, str(claim), scope=scope)
    below = replace(at_bound, value=claim - CENT)

    assert codes(make_intent(), make_context(limits=(*others, at_bound))) == []
    denial = only_denial(make_intent(), make_context(limits=(*others, below)))
    assert (denial.code, denial.limit, denial.value) == (f"{name}_exceeded", claim - CENT, claim)
    assert (denial.distance, denial.unit) == (CENT, "USD")


@given(claims(), claims(), cents())
def test_the_daily_loss_limit_counts_realised_open_and_held_losses_to_the_cent(
    held: Decimal, open_loss: Decimal, realised: Decimal
) -> None:
    usage = make_usage(held_loss=held, open_loss=open_loss, realised_today=realised)
    bound = held + open_loss + max(Decimal(0), -realised) + LOSS

    for limit, expected in ((bound, []), (bound - CENT, ["daily_loss_exceeded"])):
        context = make_context(usages=(usage,), **limits_with(LimitName.DAILY_LOSS, str(limit)))
        assert codes(make_intent(), context) == expected


@given(claims())
def test_the_position_size_limit_counts_what_is_held_already(used: Decimal) -> None:
    usage = make_usage(symbol_notional=used)
    for limit, expected in ((used + VALUE, []), (used + VALUE - CENT, ["position_size_exceeded"])):
        context = make_context(usages=(usage,), **limits_with(LimitName.POSITION_SIZE, str(limit)))
        assert codes(make_intent(), context) == expected


@pytest.mark.parametrize(("held", "expected"), [("0.00", []), ("0.01", ["margin_insufficient"])])
def test_free_margin_counts_what_other_orders_hold(held: str, expected: list[str]) -> None:
    usage = make_usage(held_margin=Decimal(held))
    context = make_context(account=make_account(margin_free=MARGIN), usages=(usage,))
    assert codes(make_intent(), context) == expected


def test_a_limit_in_another_currency_denies_instead_of_being_compared() -> None:
    euros = make_limit(LimitName.DAILY_LOSS, "1000", currency=Currency("EUR"))
    others = tuple(limit for limit in LIMITS if limit.name is not LimitName.DAILY_LOSS)
    assert codes(make_intent(), make_context(limits=(*others, euros))) == ["limit_currency"]


def test_amounts_of_another_currency_are_converted_and_the_rate_is_kept() -> None:
    context = make_context(
        account=make_account(currency=Currency("EUR")),
        pairs=(make_pair("EUR", "USD", bid="1.10", ask="1.12"),),
        limits=tuple(replace(limit, currency=limit.currency and Currency("EUR")) for limit in LIMITS),
    )
    approved = evaluate(make_intent(), context)

    assert isinstance(approved, Approved)
    assert approved.rates == {"USDEUR": 1 / Decimal("1.10")}
    assert approved.amounts.notional == Decimal("10019.10")


def test_a_stop_loss_bounds_what_the_order_may_lose() -> None:
    approved = evaluate(make_intent(stop_loss=price("1.09900")), make_context())

    assert isinstance(approved, Approved)
    # From the worst entry, 1.10210, down to the stop.
    assert approved.amounts.loss == Decimal("31.00")


def test_an_order_may_narrow_the_accounts_collar_and_never_widen_it() -> None:
    for asked, collar in ((7, 7), (2**31 - 1, 200)):
        approved = evaluate(
            make_intent(max_slippage_points=asked),
            make_context(**limits_with(LimitName.PRICE_COLLAR, Decimal(200))),
        )

        assert isinstance(approved, Approved)
        assert approved.collar_points == collar


def test_no_order_brings_a_collar_where_none_is_set() -> None:
    refused = evaluate(
        make_intent(max_slippage_points=7), make_context(**limits_with(LimitName.PRICE_COLLAR, None))
    )

    assert isinstance(refused, Denied)
    assert "limit_unset" in {denial.code for denial in refused.denials}


def test_a_resting_order_that_names_a_position_is_refused() -> None:
    resting = make_intent(order_type=OrderType.LIMIT, price=price("1.09000"), position_id=7001)

    refused = evaluate(resting, make_context())

    assert isinstance(refused, Denied)
    assert "position_needs_market_order" in {denial.code for denial in refused.denials}


def test_a_market_that_stands_still_is_refused_however_fresh_the_reading() -> None:
    quote = replace(make_quote(), at=NOW - timedelta(minutes=6), read_at=NOW)

    refused = evaluate(make_intent(), make_context(quote=quote))

    assert isinstance(refused, Denied)
    assert "market_still" in {denial.code for denial in refused.denials}


def test_every_gate_that_refuses_is_named_at_once() -> None:
    halted = Control(scope=ControlScope.ALL, scope_id="", state=ControlState.HALTED, reason="fire drill")
    old = NOW - timedelta(minutes=1)
    context = make_context(
        controls=(halted,),
        account=make_account(user_enabled=False, read_at=old, margin_free=Decimal(1)),
        instrument_allowed=False,
        quote=make_quote(read_at=old),
        limits=tuple(replace(limit, value=Decimal(1)) for limit in LIMITS),
    )
    intent = make_intent(volume=lots("0.105"), stop_loss=price("1.2"), submit_by=NOW)

    answer = evaluate(intent, context)

    assert isinstance(answer, Denied)
    assert {denial.gate for denial in answer.denials} == {
        Gate.DEADLINE,
        Gate.CONTROL,
        Gate.ACCOUNT,
        Gate.INSTRUMENT,
        Gate.QUOTE,
        Gate.VOLUME,
        Gate.STOP_LOSS,
        Gate.FREE_MARGIN,
        Gate.ORDER_VALUE,
        Gate.POSITION_SIZE,
        Gate.GROSS_EXPOSURE,
    }
    assert all(denial.message and denial.remedy for denial in answer.denials)


@given(st.sampled_from(["quote", "account", "instrument"]))
def test_a_claim_is_nothing_without_its_facts(missing: str) -> None:
    assert isinstance(claim_of(make_intent(), make_context(**{missing: None})), Denial)


def test_a_claim_asks_neither_limits_nor_stops() -> None:
    halted = Control(scope=ControlScope.ALL, scope_id="", state=ControlState.HALTED, reason="fire drill")
    tight = limits_with(LimitName.DAILY_LOSS, "0")
    claim = claim_of(make_intent(), make_context(controls=(halted,), **tight))

    assert isinstance(claim, Approved)
    assert claim.amounts.loss == LOSS
