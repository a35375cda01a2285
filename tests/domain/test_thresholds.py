"""What follows from a difference by its size, and the ids under which it is kept and corrected."""

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import ZERO
from domain.reconciliation import (
    MONEY,
    POSITIONS,
    Difference,
    DifferenceKind,
    Thresholds,
    Tier,
    Worth,
    correction_id,
    discrepancy_id,
    equity_gap,
)
from tests.domain.test_reconciliation import ORDERS, make_difference
from tests.factories import ACCOUNT_ID
from tests.strategies import cents

THRESHOLDS = Thresholds()
NO_MONEY_IS_MISSING = (*sorted(ORDERS), DifferenceKind.POSITION_PRICE, DifferenceKind.EQUITY)
BEYOND = Decimal(1_000_000)


# What follows.


@pytest.mark.parametrize("kind", sorted(MONEY))
@pytest.mark.parametrize(
    ("impact", "corrected_today", "tier"),
    [
        ("0.01", "0", Tier.CORRECT),
        ("99.99", "0", Tier.CORRECT),
        ("100.00", "0", Tier.REVIEW),
        ("100.01", "0", Tier.REVIEW),
        ("500.00", "0", Tier.REVIEW),
        ("500.01", "0", Tier.STOP),
        ("39.99", "60", Tier.CORRECT),
        ("40", "60", Tier.REVIEW),
        ("440", "60", Tier.REVIEW),
        ("440.01", "60", Tier.STOP),
        ("441", "60", Tier.STOP),
        ("0.01", "99.99", Tier.REVIEW),
    ],
)
def test_money_is_corrected_below_the_first_bound_and_stops_beyond_the_second(
    kind: DifferenceKind, impact: str, corrected_today: str, tier: Tier
) -> None:
    assert THRESHOLDS.tier(kind, Decimal(impact), corrected_today=Decimal(corrected_today)) is tier


@pytest.mark.parametrize("kind", sorted(POSITIONS))
@pytest.mark.parametrize(
    ("impact", "tier"),
    [("0", Tier.REVIEW), ("99.99", Tier.REVIEW), ("500.00", Tier.REVIEW), ("500.01", Tier.STOP)],
)
def test_positions_are_never_corrected(kind: DifferenceKind, impact: str, tier: Tier) -> None:
    assert THRESHOLDS.tier(kind, Decimal(impact)) is tier
    # What was corrected today was money; a lot is worth what it is worth.
    assert THRESHOLDS.tier(kind, Decimal(impact), corrected_today=BEYOND) is tier


@pytest.mark.parametrize("kind", sorted(MONEY | POSITIONS))
def test_what_nobody_can_value_stops(kind: DifferenceKind) -> None:
    assert THRESHOLDS.tier(kind, None) is Tier.STOP


@pytest.mark.parametrize("kind", NO_MONEY_IS_MISSING)
@pytest.mark.parametrize("impact", [None, ZERO, Decimal("99.99"), BEYOND])
def test_what_is_no_missing_money_is_for_a_person(kind: DifferenceKind, impact: Decimal | None) -> None:
    assert THRESHOLDS.tier(kind, impact) is Tier.REVIEW
    assert THRESHOLDS.tier(kind, impact, corrected_today=BEYOND) is Tier.REVIEW


def test_every_kind_has_a_tier() -> None:
    assert MONEY | POSITIONS | set(NO_MONEY_IS_MISSING) == set(DifferenceKind)
    assert not MONEY & POSITIONS


@given(st.sampled_from(DifferenceKind), cents(least=0), cents(least=0), cents(least=0))
def test_more_is_never_handled_more_lightly(
    kind: DifferenceKind, impact: Decimal, more: Decimal, corrected: Decimal
) -> None:
    order = list(Tier)
    light = THRESHOLDS.tier(kind, impact, corrected_today=corrected)
    assert order.index(THRESHOLDS.tier(kind, impact + more, corrected_today=corrected)) >= order.index(light)
    assert order.index(THRESHOLDS.tier(kind, impact, corrected_today=corrected + more)) >= order.index(light)


# Ids.


def test_the_same_difference_over_the_same_books_is_corrected_under_one_id() -> None:
    difference = make_difference()
    first = correction_id(ACCOUNT_ID, difference, watermark=41)
    assert correction_id(ACCOUNT_ID, replace(difference, told="seen anew"), watermark=41) == first
    # The same sums, however many zeros they are written with.
    longer = replace(difference, ours=Decimal("1000.00"), theirs=Decimal("1099.990"))
    assert correction_id(ACCOUNT_ID, longer, watermark=41) == first


def test_another_correction_has_another_id() -> None:
    difference = make_difference()
    ids = {
        correction_id(ACCOUNT_ID, difference, watermark=41),
        correction_id(ACCOUNT_ID, difference, watermark=42),
        correction_id(UUID(int=9), difference, watermark=41),
        correction_id(ACCOUNT_ID, replace(difference, kind=DifferenceKind.CREDIT), watermark=41),
        # By the same amount, but from other sums.
        correction_id(
            ACCOUNT_ID, replace(difference, ours=Decimal(2000), theirs=Decimal("2099.99")), watermark=41
        ),
        correction_id(ACCOUNT_ID, replace(difference, ours=difference.theirs, theirs=Decimal(1000)), watermark=41),
        correction_id(ACCOUNT_ID, replace(difference, ours=None), watermark=41),
        correction_id(ACCOUNT_ID, replace(difference, ours=ZERO), watermark=41),
    }
    assert len(ids) == 8


def test_a_discrepancy_has_its_id_from_the_run_that_finds_it_and_from_what_differs() -> None:
    run, difference = UUID(int=1), make_difference()
    first = discrepancy_id(run, difference)
    assert discrepancy_id(run, replace(difference, theirs=ZERO)) == first
    assert discrepancy_id(UUID(int=2), difference) != first
    assert discrepancy_id(run, replace(difference, subject="other")) != first


def test_an_equity_is_shown_by_its_gap_alone() -> None:
    def gap(balance: str, equity: str) -> Difference:
        return equity_gap(
            balance=Decimal(balance),
            credit=Decimal(5),
            floating=Decimal(-2),
            equity=Decimal(equity),
            worth=Worth(lots={}, money=Decimal(2)),
        )

    one = gap("100", "101")
    assert (one.kind, one.ours, one.amount, one.impact) == (
        DifferenceKind.EQUITY,
        Decimal(103),
        Decimal(-2),
        Decimal(4),
    )
    assert one.shown == gap("200", "201").shown
    assert one.shown != gap("200", "200").shown
    assert make_difference().shown != replace(make_difference(), ours=Decimal(1), theirs=Decimal("100.99")).shown
