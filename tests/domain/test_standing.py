"""What the watch found denies by its own name: conditions whatever is sent, changed contracts what opens."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.gates import Denial, Gate
from domain.orders import OrderIntent, Side
from domain.risk import Denied, claim_of, evaluate, recovered_claim
from domain.risk_context import Condition, RiskContext
from domain.sizing import Approved
from domain.watch import CONDITIONS, FindingKind, Pending
from tests.factories import (
    EUR,
    NOW,
    lots,
    make_account,
    make_context,
    make_holding,
    make_instrument,
    make_intent,
    make_quote,
)


def only_denial(intent: OrderIntent, context: RiskContext) -> Denial:
    answer = evaluate(intent, context)
    assert isinstance(answer, Denied)
    (denial,) = answer.denials
    return denial


@pytest.mark.parametrize("kind", list(CONDITIONS))
@pytest.mark.parametrize("position_id", [None, 7001])
def test_a_condition_denies_whatever_would_be_sent(kind: FindingKind, position_id: int | None) -> None:
    side = Side.BUY if position_id is None else Side.SELL
    intent = make_intent(side=side, position_id=position_id)
    context = make_context(holding=make_holding())
    assert isinstance(evaluate(intent, context), Approved)

    standing = replace(context, conditions=(Condition(kind=kind, message="mend it"),))
    denial = only_denial(intent, standing)
    assert (denial.gate, denial.code, denial.message) == (Gate.ACCOUNT, kind, "mend it")
    assert isinstance(claim_of(intent, standing), Denial)
    answer = evaluate(intent, standing)
    assert isinstance(answer, Denied)
    assert not answer.for_want_of_data


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (
            {"contract_changes": (Pending(symbol="EURUSD", term="contract_size", was="100000", shown="1000"),)},
            FindingKind.CONTRACT_CHANGED,
        ),
        ({"instrument_listed": False}, FindingKind.SYMBOL_VANISHED),
    ],
)
def test_a_changed_contract_denies_what_opens_and_lets_through_what_reduces(
    change: dict[str, Any], code: FindingKind
) -> None:
    context = make_context(holding=make_holding(), **change)

    denial = only_denial(make_intent(), context)
    assert (denial.gate, denial.code) == (Gate.CONTRACT, code)
    assert isinstance(claim_of(make_intent(), context), Denial)
    assert isinstance(evaluate(make_intent(side=Side.SELL, position_id=7001), context), Approved)


def test_an_account_that_was_not_compared_yet_opens_nothing_and_lets_through_what_reduces() -> None:
    context = make_context(account=make_account(unreconciled_since=NOW), holding=make_holding())

    denial = only_denial(make_intent(), context)
    assert (denial.gate, denial.code) == (Gate.ACCOUNT, "not_reconciled")
    assert isinstance(evaluate(make_intent(side=Side.SELL, position_id=7001), context), Approved)


def test_a_changed_contract_says_who_can_open_it_again() -> None:
    change = Pending(symbol="EURUSD", term="contract_size", was="100000", shown="1000")
    assert only_denial(make_intent(), make_context(contract_changes=(change,))).message == (
        "contract_size of EURUSD is 1000 instead of 100000; "
        "a person has to accept that: nexus contracts accept EURUSD"
    )


_OLD = NOW - timedelta(days=2)


@pytest.mark.parametrize(
    "change",
    [
        {"conditions": (Condition(kind=FindingKind.ALGO_TRADING_OFF, message="press the button"),)},
        {"contract_changes": (Pending(symbol="EURUSD", term="contract_size", was="100000", shown="1000"),)},
        {"instrument_listed": False},
        {"instrument_allowed": False},
        {"quote": make_quote(at=_OLD, read_at=_OLD)},
        {"account": make_account(read_at=_OLD)},
        {"limits": ()},
        {"instrument": make_instrument(volume_min=lots("1"))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_order_that_may_be_at_the_broker_is_never_denied(change: dict[str, Any]) -> None:
    assert isinstance(recovered_claim(make_intent(), make_context(**change)), Approved)


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ({"account": None}, "account_unknown"),
        ({"quote": None}, "quote_missing"),
        ({"instrument": None}, "symbol_unknown"),
        ({"instrument": make_instrument(currency_profit=EUR)}, "rate_missing"),
    ],
)
def test_a_claim_that_cannot_be_said_names_the_fact_that_is_missing(missing: dict[str, Any], code: str) -> None:
    answer = recovered_claim(make_intent(), make_context(**missing))

    assert isinstance(answer, Denial)
    assert answer.code == code


def test_without_limits_the_claim_of_a_recovered_order_is_its_whole_value() -> None:
    claim = recovered_claim(make_intent(), make_context(limits=()))

    assert isinstance(claim, Approved)
    assert claim.amounts.loss == claim.amounts.notional == Decimal("11001.00")
    assert claim.collar_points == 0
