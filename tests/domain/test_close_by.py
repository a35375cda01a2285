"""A close by another position takes two opposite ones of its user and all their common lots, if they are free."""

from typing import Any

import pytest

from domain.orders import OrderIntent, Side
from domain.positions import Holding, MarginMode
from domain.risk import Denied, evaluate
from domain.risk_context import RiskContext
from domain.sizing import Approved
from tests.factories import (
    TRADE_ID,
    USER_ID,
    lots,
    make_account,
    make_context,
    make_holding,
    make_instrument,
    make_intent,
    make_position,
    price,
)


def make_close_by(**changes: Any) -> OrderIntent:
    """Close 0.10 lots of the long position by the short one."""
    return make_intent(**{"side": Side.SELL, "position_id": 7001, "close_by_position_id": 7002, **changes})


def long(**changes: Any) -> Holding:
    return make_holding(make_position(volume=lots("0.30")), **{"owner": USER_ID, **changes})


def short(*, free: str | None = None, owner: Any = USER_ID, **changes: Any) -> Holding:
    values = {"position_id": 7002, "side": Side.SELL, "price_open": price("1.10210"), **changes}
    position = make_position(**values)
    return make_holding(position, owner=owner, free=position.volume if free is None else lots(free))


def hedged(**changes: Any) -> RiskContext:
    """Long 0.30 and short 0.10 lots, with no limit but the collar left."""
    return make_context(**{"holding": long(), "partner": short(), **changes})


def codes(intent: OrderIntent, context: RiskContext) -> list[str]:
    answer = evaluate(intent, context)
    return [denial.code for denial in answer.denials] if isinstance(answer, Denied) else []


def test_it_claims_volume_alone_at_the_price_at_which_the_other_was_opened() -> None:
    approved = evaluate(make_close_by(), hedged(account=make_account(margin_free=lots("0"))))

    assert isinstance(approved, Approved)
    amounts = approved.amounts
    assert (amounts.volume, amounts.loss, amounts.notional, amounts.margin) == (lots("0.10"), 0, 0, 0)
    assert approved.reference_price == price("1.10210")


@pytest.mark.parametrize("mode", [MarginMode.NETTING, MarginMode.EXCHANGE])
def test_only_a_hedging_account_keeps_two_positions_that_could_close_each_other(mode: MarginMode) -> None:
    assert codes(make_close_by(), hedged(account=make_account(margin_mode=mode))) == ["close_by_needs_hedging"]


@pytest.mark.parametrize("owner", [None, TRADE_ID], ids=["nobody", "another user"])
def test_both_positions_must_have_been_opened_by_the_user(owner: Any) -> None:
    assert codes(make_close_by(), hedged(holding=long(owner=owner))) == ["position_not_open"]
    assert codes(make_close_by(), hedged(partner=short(owner=owner))) == ["position_not_open"]


def test_both_positions_must_be_open() -> None:
    assert codes(make_close_by(), hedged(holding=None)) == ["position_not_open"]
    assert codes(make_close_by(), hedged(partner=None)) == ["position_not_open"]


@pytest.mark.parametrize(
    "partner", [short(side=Side.BUY), short(symbol="GBPUSD")], ids=["same side", "another symbol"]
)
def test_the_positions_must_be_opposite_in_one_symbol(partner: Holding) -> None:
    assert codes(make_close_by(), hedged(partner=partner)) == ["positions_not_opposite"]


def test_the_lots_must_be_free_in_both_positions() -> None:
    assert codes(make_close_by(), hedged(holding=long(free=lots("0.09")))) == ["position_volume_exceeded"]
    assert codes(make_close_by(), hedged(partner=short(free="0.09"))) == ["position_volume_exceeded"]


def test_the_broker_would_close_all_common_lots_so_fewer_are_refused() -> None:
    assert codes(make_close_by(volume=lots("0.09")), hedged()) == ["close_by_volume"]


def test_a_symbol_in_which_the_broker_does_not_offer_it_is_refused_by_name() -> None:
    context = hedged(instrument=make_instrument(close_by=False))
    assert codes(make_close_by(), context) == ["close_by_not_offered"]


def test_it_needs_no_market_orders_to_be_offered() -> None:
    assert codes(make_close_by(), hedged(instrument=make_instrument(order_types=()))) == []
