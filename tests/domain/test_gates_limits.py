"""Limits that count and limits that measure: each passes at its bound, denies beyond it, and names what passes."""

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.controls import ControlScope
from domain.gates import Denial, Gate
from domain.limits import LimitName, Repeats, loosens
from domain.money import Lots
from domain.orders import OrderIntent, Side
from domain.risk import Denied, evaluate
from domain.risk_context import RiskContext
from domain.sizing import Approved
from tests.factories import (
    LIMITS,
    lots,
    make_account,
    make_context,
    make_holding,
    make_intent,
    make_limit,
    make_usage,
)

VALUE, LOSS = Decimal("11021.00"), Decimal("220.42")
PLENTY = Decimal(10**9)


def context_with(name: LimitName, value: Decimal | str | None, **usage: Any) -> RiskContext:
    others = tuple(limit for limit in LIMITS if limit.name is not name)
    limits = others if value is None else (*others, make_limit(name, str(value)))
    usages = tuple(make_usage(scope=scope, **usage) for scope in (ControlScope.ACCOUNT, ControlScope.USER))
    return make_context(limits=limits, usages=usages)


def denials(intent: OrderIntent, context: RiskContext) -> tuple[Denial, ...]:
    answer = evaluate(intent, context)
    return answer.denials if isinstance(answer, Denied) else ()


@pytest.mark.parametrize(
    ("name", "gate", "usage", "bound"),
    [
        (LimitName.ORDER_VALUE, Gate.ORDER_VALUE, {}, VALUE),
        (LimitName.POSITION_SIZE, Gate.POSITION_SIZE, {"symbol_notional": Decimal(500)}, VALUE + 500),
        (LimitName.GROSS_EXPOSURE, Gate.GROSS_EXPOSURE, {"gross_notional": Decimal(700)}, VALUE + 700),
        (LimitName.DAILY_LOSS, Gate.DAILY_LOSS, {"open_loss": Decimal(100)}, LOSS + 100),
        (LimitName.ROLLING_LOSS, Gate.ROLLING_LOSS, {"rolling_result": Decimal(-90)}, LOSS + 90),
        (LimitName.ROLLING_LOSS, Gate.ROLLING_LOSS, {"rolling_result": Decimal(90)}, LOSS),
        (LimitName.OPEN_ORDERS, Gate.OPEN_ORDERS, {"open_orders": 3}, Decimal(4)),
        (LimitName.OPEN_POSITIONS, Gate.OPEN_POSITIONS, {"open_positions": 3}, Decimal(3)),
        (LimitName.MESSAGE_RATE, Gate.MESSAGE_RATE, {"messages": 3}, Decimal(3)),
    ],
)
def test_a_limit_passes_at_its_bound_and_denies_beyond_it(
    name: LimitName, gate: Gate, usage: dict[str, Any], bound: Decimal
) -> None:
    least = Decimal(1) if bound < 10 else Decimal("0.01")
    assert denials(make_intent(), context_with(name, bound, **usage)) == ()

    (denial,) = denials(make_intent(), context_with(name, bound - least, **usage))
    assert (denial.gate, denial.code) == (gate, f"{name}_exceeded")
    assert (denial.value, denial.limit, denial.distance) == (bound, bound - least, least)
    assert denial.remedy


@pytest.mark.parametrize("name", list(LimitName))
def test_a_limit_that_is_not_set_denies(name: LimitName) -> None:
    (denial,) = denials(make_intent(), context_with(name, None))
    assert denial.code == "limit_unset"
    assert str(name) in denial.message


@given(
    name=st.sampled_from([LimitName.ORDER_VALUE, LimitName.POSITION_SIZE, LimitName.DAILY_LOSS]),
    limit=st.integers(1, 3_000_000),
    volume=st.integers(1, 500),
)
def test_the_volume_that_a_denial_names_passes_and_the_next_step_does_not(
    name: LimitName, limit: int, volume: int
) -> None:
    context = context_with(name, Decimal(limit) / 100)
    wide = tuple(
        replace(m, value=PLENTY) if m.name is not name and m.unit == "money" else m for m in context.limits
    )
    context = replace(context, limits=wide, account=make_account(margin_free=PLENTY))
    for denial in denials(make_intent(volume=Lots(Decimal(volume) / 100)), context):
        assert (denial.gate, denial.remedy is None) == (name, False)
        named = re.fullmatch(r"([0-9.]+) lots would pass", denial.remedy or "")
        beyond = lots("0.01")
        if named is not None:
            assert denials(make_intent(volume=lots(named[1])), context) == ()
            beyond = Lots(lots(named[1]) + Decimal("0.01"))
        # A cent of rounding may keep out the very next step that would fit.
        assert denials(make_intent(volume=Lots(beyond + Decimal("0.01"))), context) != ()


def repeated(age: str | None, *, executed: int = 0) -> RiskContext:
    return make_context(repeats=Repeats(last_age_seconds=None if age is None else Decimal(age), executed=executed))


def test_the_same_order_twice_within_the_window_is_refused_and_after_it_allowed() -> None:
    (denial,) = denials(make_intent(), repeated("1.5"))
    assert (denial.gate, denial.code, denial.distance) == (Gate.DUPLICATE, "duplicate_order", Decimal("3.5"))
    assert denial.remedy is not None
    assert "allow_duplicate" in denial.remedy

    assert denials(make_intent(), repeated("5")) == ()
    assert denials(make_intent(), repeated(None)) == ()


def test_the_same_order_is_allowed_where_it_says_that_it_is_meant() -> None:
    assert denials(make_intent(allow_duplicate=True), repeated("0.1")) == ()


def test_what_was_executed_over_and_over_is_throttled_even_if_it_is_meant() -> None:
    assert denials(make_intent(), repeated(None, executed=9)) == ()
    (denial,) = denials(make_intent(allow_duplicate=True), repeated(None, executed=10))
    assert (denial.gate, denial.value) == (Gate.REPEATED_EXECUTION, Decimal(11))


def test_what_reduces_a_position_meets_no_limit_at_all() -> None:
    nothing = tuple(replace(limit, value=Decimal(0)) for limit in LIMITS)
    context = make_context(
        limits=nothing,
        holding=make_holding(),
        repeats=Repeats(last_age_seconds=Decimal(0), executed=99),
        usages=(make_usage(open_orders=99, open_positions=99, messages=99),),
    )
    assert isinstance(evaluate(make_intent(side=Side.SELL, position_id=7001), context), Approved)


def test_a_denial_says_how_old_the_data_was_that_it_went_by() -> None:
    (denial,) = denials(make_intent(), context_with(LimitName.ORDER_VALUE, "1"))
    assert set(denial.ages_ms) == {"account", "quote"}
    (counted,) = denials(make_intent(), context_with(LimitName.MESSAGE_RATE, "0"))
    assert counted.ages_ms == {}


@pytest.mark.parametrize(
    ("name", "up"),
    [(LimitName.DAILY_LOSS, True), (LimitName.DUPLICATE_WINDOW, False), (LimitName.STOPLESS_LOSS, False)],
)
def test_a_limit_is_loosened_by_what_lets_more_pass(name: LimitName, *, up: bool) -> None:
    assert loosens(name, before=Decimal(1), after=Decimal(2)) is up
    assert loosens(name, before=Decimal(2), after=Decimal(1)) is not up
    assert not loosens(name, before=Decimal(1), after=Decimal(1))


def test_a_limit_of_a_user_counts_that_user_alone() -> None:
    mine = make_limit(LimitName.OPEN_ORDERS, "2", scope=ControlScope.USER)
    usages = (make_usage(open_orders=5), make_usage(scope=ControlScope.USER, open_orders=1))
    assert denials(make_intent(), make_context(usages=usages, limits=(*LIMITS, mine))) == ()
