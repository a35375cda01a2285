"""Only an order that names its position, and fits it, skips the gates of loss and exposure; and only those."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from domain.controls import Control, ControlScope, ControlState
from domain.instruments import TradeMode
from domain.limits import LimitName
from domain.money import ZERO
from domain.orders import OrderIntent, Side
from domain.risk import Denied, evaluate
from domain.risk_context import RiskContext
from domain.sizing import Approved
from tests.factories import (
    LIMITS,
    NOW,
    lots,
    make_account,
    make_context,
    make_holding,
    make_instrument,
    make_intent,
    make_limit,
    make_position,
    make_quote,
)


def make_close(**changes: Any) -> OrderIntent:
    return make_intent(**{"side": Side.SELL, "position_id": 7001, **changes})


def holding(**changes: Any) -> RiskContext:
    """Long 0.10 lots, all of it free, with every limit used up."""
    spent = tuple(
        replace(limit, value=ZERO) if limit.name in {LimitName.DAILY_LOSS, LimitName.POSITION_SIZE} else limit
        for limit in LIMITS
    )
    values: dict[str, Any] = {"holding": make_holding(), "limits": spent}
    return make_context(**{**values, **changes})


def codes(intent: OrderIntent, context: RiskContext) -> list[str]:
    answer = evaluate(intent, context)
    return [denial.code for denial in answer.denials] if isinstance(answer, Denied) else []


def test_a_close_passes_with_every_limit_used_up_and_claims_volume_alone() -> None:
    approved = evaluate(make_close(), holding(account=make_account(margin_free=ZERO), unvalued=("XAUUSD",)))

    assert isinstance(approved, Approved)
    amounts = approved.amounts
    assert (amounts.volume, amounts.loss, amounts.notional, amounts.margin) == (lots("0.10"), ZERO, ZERO, ZERO)


def test_the_same_order_without_its_position_is_refused() -> None:
    assert codes(make_close(position_id=None), holding()) == ["daily_loss_exceeded", "position_size_exceeded"]


def test_a_close_needs_its_position_open() -> None:
    assert codes(make_close(), holding(holding=None)) == ["position_not_open"]


@pytest.mark.parametrize(("volume", "denied"), [("0.10", False), ("0.11", True)])
def test_a_close_fits_the_volume_that_no_other_close_holds(volume: str, *, denied: bool) -> None:
    context = holding(holding=make_holding(make_position(volume=lots("0.30")), free=lots("0.10")))
    assert codes(make_close(volume=lots(volume)), context) == (["position_volume_exceeded"] if denied else [])


def test_a_close_goes_against_its_position_in_the_same_symbol() -> None:
    assert codes(make_close(side=Side.BUY), holding()) == ["position_not_reduced"]
    assert codes(make_close(), holding(holding=make_holding(make_position(symbol="GBPUSD")))) == [
        "position_not_reduced"
    ]


def test_a_close_passes_a_stop_that_lets_risk_shrink_and_no_other() -> None:
    def stopped(state: ControlState) -> RiskContext:
        return holding(controls=(Control(scope=ControlScope.ALL, scope_id="", state=state, reason="drill"),))

    assert codes(make_close(), stopped(ControlState.REDUCE_ONLY)) == []
    assert codes(make_close(), stopped(ControlState.HALTED)) == ["trading_halted"]


def test_a_close_passes_where_the_broker_lets_positions_only_be_closed() -> None:
    for mode in (TradeMode.CLOSE_ONLY, TradeMode.LONG_ONLY):
        assert codes(make_close(), holding(instrument=make_instrument(trade_mode=mode))) == []
    disabled = holding(instrument=make_instrument(trade_mode=TradeMode.DISABLED))
    assert codes(make_close(), disabled) == ["symbol_not_tradable"]


def test_every_other_gate_still_stands_before_a_close() -> None:
    old = NOW - timedelta(minutes=1)
    context = holding(
        account=make_account(enabled=False, read_at=old),
        quote=make_quote(read_at=old),
        holding=make_holding(free=lots("1")),
    )
    assert codes(make_close(volume=lots("0.105"), submit_by=NOW), context) == [
        "submit_deadline_passed",
        "account_disabled",
        "account_stale",
        "quote_stale",
        "volume_invalid",
    ]


def test_a_close_still_needs_a_collar() -> None:
    without = tuple(limit for limit in LIMITS if limit.name is not LimitName.PRICE_COLLAR)
    assert codes(make_close(), holding(limits=without)) == ["limit_unset"]
    assert codes(make_close(), holding(limits=(*without, make_limit(LimitName.PRICE_COLLAR, "10")))) == []


def test_what_has_nothing_to_do_with_closing_keeps_no_close_of_a_stop_from_going() -> None:
    context = holding()
    assert context.quote is not None
    still = replace(context.quote, at=context.now - timedelta(hours=1))
    bare = replace(context, quote=still, limits=(), pairs=())

    approved = evaluate(make_close(stop_id=uuid4()), bare)

    assert isinstance(approved, Approved)
    assert approved.collar_points * Decimal("0.00001") == pytest.approx(Decimal("0.01"), rel=Decimal("0.2"))
    assert isinstance(evaluate(make_close(), bare), Denied)
