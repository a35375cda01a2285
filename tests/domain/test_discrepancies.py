"""The life of a discrepancy, and what each decision on it would do."""

from decimal import Decimal
from typing import Any

import pytest

from domain.discrepancies import (
    DECIDED,
    TRANSITIONS,
    WAITING,
    Decision,
    DiscrepancyState,
    Effect,
    effects,
    objection,
)
from domain.money import ZERO
from domain.reconciliation import MONEY, POSITIONS, Difference, DifferenceKind
from tests.factories import lots

ENDED = frozenset(DiscrepancyState) - WAITING
ASKED = (DiscrepancyState.OPEN, DiscrepancyState.DISPUTED)
FLOATING = Decimal("-12.50")
# What the broker shows as open, so that it can be adopted or closed.
OPEN_THERE = (DifferenceKind.POSITION_UNKNOWN, DifferenceKind.POSITION_VOLUME)


def make_difference(kind: DifferenceKind, **changes: Any) -> Difference:
    """One side has 0.30 of it, or 300, the other 0.10 or 100; or nothing where the kind says so."""
    ours, theirs = (lots("0.30"), lots("0.10")) if kind in POSITIONS else (Decimal(300), Decimal(100))
    values: dict[str, Any] = {
        "kind": kind,
        "subject": "what differs",
        "symbol": "EURUSD",
        "number": 7001,
        "ours": None if kind.endswith("unknown") else ours,
        "theirs": None if kind.endswith("missing") else theirs,
        "impact": Decimal(200),
    }
    return Difference(**{**values, **changes})


def effect(decision: Decision, difference: Difference) -> Effect:
    (found,) = (each for each in effects(difference, floating=FLOATING) if each.decision is decision)
    return found


def changed(found: Effect) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    return found.balance, found.lots, found.realised


# The life.


def test_every_state_has_its_place_in_the_life() -> None:
    assert set(TRANSITIONS) == set(DiscrepancyState)
    reached = frozenset().union(*TRANSITIONS.values())
    assert set(DiscrepancyState) - reached == {DiscrepancyState.KEPT_OUT}, "the others follow from one before"


def test_what_waits_may_still_become_something_and_never_goes_back_to_being_kept_out() -> None:
    assert all(TRANSITIONS[state] for state in WAITING)
    assert all(not TRANSITIONS[state] & WAITING for state in ENDED), "what has ended never waits again"


def test_after_its_end_it_is_only_ever_explained() -> None:
    followed = {state for state in ENDED if TRANSITIONS[state]}
    assert followed == {DiscrepancyState.CORRECTED, DiscrepancyState.ACCEPTED, DiscrepancyState.ADOPTED}
    assert all(TRANSITIONS[state] == {DiscrepancyState.EXPLAINED} for state in followed)


def test_no_life_goes_in_circles() -> None:
    done = {state for state in DiscrepancyState if not TRANSITIONS[state]}
    for _ in DiscrepancyState:
        done |= {state for state in DiscrepancyState if TRANSITIONS[state] <= done}
    assert done == set(DiscrepancyState)


@pytest.mark.parametrize("decision", Decision)
def test_every_decision_has_a_state_that_a_person_reaches(decision: Decision) -> None:
    state = DECIDED[decision]
    assert state in TRANSITIONS[DiscrepancyState.OPEN]
    # To dispute it once more changes nothing.
    assert state in TRANSITIONS[DiscrepancyState.DISPUTED] | {DiscrepancyState.DISPUTED}
    assert (state in WAITING) == (decision is Decision.DISPUTE)


def test_two_decisions_never_end_in_the_same_state() -> None:
    assert len(set(DECIDED.values())) == len(DECIDED) == len(Decision)


def test_what_is_in_motion_is_nobodys_to_decide() -> None:
    assert not TRANSITIONS[DiscrepancyState.KEPT_OUT] & set(DECIDED.values())


@pytest.mark.parametrize("state", ASKED)
def test_a_person_who_was_asked_is_never_passed_over_by_a_correction(state: DiscrepancyState) -> None:
    assert DiscrepancyState.CORRECTED not in TRANSITIONS[state]
    assert DiscrepancyState.PASSED not in TRANSITIONS[state]


# What a decision does.


@pytest.mark.parametrize("kind", DifferenceKind)
def test_every_decision_is_told_and_either_fits_or_says_why_not(kind: DifferenceKind) -> None:
    difference = make_difference(kind)
    found = effects(difference, floating=FLOATING)
    assert [each.decision for each in found] == list(Decision)
    assert all(each.told for each in found)
    assert [each.objection for each in found] == [objection(each.decision, difference) for each in found]


@pytest.mark.parametrize("kind", DifferenceKind)
def test_anything_may_be_accepted_or_disputed(kind: DifferenceKind) -> None:
    assert objection(Decision.ACCEPT, make_difference(kind)) is None
    assert objection(Decision.DISPUTE, make_difference(kind)) is None


@pytest.mark.parametrize("kind", DifferenceKind)
@pytest.mark.parametrize("decision", [Decision.ADOPT, Decision.CLOSE])
def test_only_what_the_broker_shows_as_open_is_adopted_or_closed(decision: Decision, kind: DifferenceKind) -> None:
    difference = make_difference(kind)
    refused = objection(decision, difference)
    if kind in OPEN_THERE:
        assert refused is None
    else:
        assert difference.subject in str(refused)
        assert changed(effect(decision, difference)) == (None, None, None)


@pytest.mark.parametrize("decision", [Decision.ADOPT, Decision.CLOSE])
def test_a_position_without_lots_at_the_broker_is_not_open(decision: Decision) -> None:
    assert objection(decision, make_difference(DifferenceKind.POSITION_VOLUME, theirs=ZERO)) is not None


@pytest.mark.parametrize("kind", DifferenceKind)
def test_a_dispute_changes_nothing(kind: DifferenceKind) -> None:
    assert changed(effect(Decision.DISPUTE, make_difference(kind))) == (None, None, None)


def test_accepted_money_moves_the_balance_by_what_the_broker_has_more() -> None:
    found = effect(Decision.ACCEPT, make_difference(DifferenceKind.BALANCE))
    assert changed(found) == (Decimal(-200), None, None)


def test_accepted_credit_is_owed_and_so_moves_no_balance() -> None:
    assert changed(effect(Decision.ACCEPT, make_difference(DifferenceKind.CREDIT))) == (ZERO, None, None)


@pytest.mark.parametrize("kind", sorted(set(DifferenceKind) - MONEY - POSITIONS))
def test_what_is_no_money_and_no_lots_is_accepted_without_an_entry(kind: DifferenceKind) -> None:
    assert changed(effect(Decision.ACCEPT, make_difference(kind))) == (None, None, None)


@pytest.mark.parametrize(
    ("kind", "moved"),
    [
        (DifferenceKind.POSITION_UNKNOWN, "0.10"),
        (DifferenceKind.POSITION_VOLUME, "-0.20"),
        (DifferenceKind.POSITION_MISSING, "-0.30"),
    ],
)
def test_an_accepted_position_gets_the_brokers_lots(kind: DifferenceKind, moved: str) -> None:
    assert changed(effect(Decision.ACCEPT, make_difference(kind))) == (None, Decimal(moved), None)


@pytest.mark.parametrize("kind", OPEN_THERE)
def test_an_adopted_position_has_the_brokers_lots_in_the_books(kind: DifferenceKind) -> None:
    difference = make_difference(kind)
    assert changed(effect(Decision.ADOPT, difference)) == (None, difference.amount, None)


@pytest.mark.parametrize(("kind", "moved"), [(OPEN_THERE[0], "0"), (OPEN_THERE[1], "-0.30")])
def test_a_close_realises_what_floats_and_leaves_nothing_in_the_books(kind: DifferenceKind, moved: str) -> None:
    assert changed(effect(Decision.CLOSE, make_difference(kind))) == (None, Decimal(moved), FLOATING)


def test_what_a_close_realises_is_unknown_without_a_price() -> None:
    known = {each.decision: each for each in effects(make_difference(OPEN_THERE[0]), floating=None)}
    assert known[Decision.CLOSE].realised is None
