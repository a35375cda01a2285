"""What differs between two sides of an account, what of it is kept out, and what follows from what is left."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import CENT, ZERO, Price
from domain.reconciliation import (
    MONEY,
    POSITIONS,
    ROUNDING,
    Compared,
    Difference,
    DifferenceKind,
    Held,
    Moving,
    Side,
    Thresholds,
    Tier,
    Worth,
    compare,
    confirmed,
    correction_id,
    discrepancy_id,
    equity_gap,
)
from tests.factories import ACCOUNT_ID, price
from tests.strategies import POINT, cents, prices, volumes

SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")
LOT = Decimal(100_000)
WORTH = Worth(lots=dict.fromkeys(SYMBOLS, LOT), money=Decimal(1), ticks=dict.fromkeys(SYMBOLS, POINT))
STILL = Moving()
EMPTY = Side(balance=ZERO, credit=ZERO, positions={}, orders={})
THRESHOLDS = Thresholds()
ORDERS = frozenset({DifferenceKind.ORDER_MISSING, DifferenceKind.ORDER_UNKNOWN})
NO_MONEY_IS_MISSING = (*sorted(ORDERS), DifferenceKind.POSITION_PRICE, DifferenceKind.EQUITY)
BEYOND = Decimal(1_000_000)


def helds() -> st.SearchStrategy[Held]:
    """A position, long or short, at a price that may be unknown."""
    return st.builds(
        lambda symbol, lots, sign, at: Held(symbol=symbol, lots=lots * sign, price=at),
        st.sampled_from(SYMBOLS),
        volumes(),
        st.sampled_from([1, -1]),
        st.none() | prices(),
    )


def sides() -> st.SearchStrategy[Side]:
    """An account whose positions and orders have few numbers, so that two of them share some."""
    return st.builds(
        Side,
        balance=cents(),
        credit=cents(least=0),
        positions=st.dictionaries(st.integers(1, 8), helds(), max_size=6),
        orders=st.dictionaries(st.integers(101, 108), st.just("buy 0.10 EURUSD"), max_size=6),
    )


def movings() -> st.SearchStrategy[Moving]:
    return st.builds(
        Moving,
        positions=st.frozensets(st.integers(1, 8)),
        orders=st.frozensets(st.integers(101, 108)),
        money=st.booleans(),
    )


def differences() -> st.SearchStrategy[Difference]:
    """Of few subjects, so that two readings name the same ones."""
    return st.builds(
        make_difference,
        kind=st.sampled_from(DifferenceKind),
        subject=st.sampled_from("ab"),
        ours=st.none() | cents(least=-2, most=2),
        theirs=st.none() | cents(least=-2, most=2),
    )


def make_difference(**changes: Any) -> Difference:
    values: dict[str, Any] = {
        "kind": DifferenceKind.BALANCE,
        "subject": "balance",
        "ours": Decimal(1000),
        "theirs": Decimal("1099.99"),
        "impact": Decimal("99.99"),
    }
    return Difference(**{**values, **changes})


def balance_differs_by(amount: Decimal) -> tuple[Difference, ...]:
    return compare(EMPTY, replace(EMPTY, balance=amount), moving=STILL, worth=WORTH).found


def numbers(found: Iterable[Difference], *kinds: DifferenceKind) -> set[int | None]:
    return {each.number for each in found if each.kind in kinds}


def everything(compared: Compared) -> tuple[Difference, ...]:
    return (*compared.found, *compared.kept_out)


# What differs.


@given(sides(), movings(), st.sampled_from([WORTH, Worth(lots={}, money=None)]))
def test_nothing_differs_between_equal_sides(side: Side, moving: Moving, worth: Worth) -> None:
    assert compare(side, side, moving=moving, worth=worth) == Compared(found=(), kept_out=())


@given(sides(), sides())
def test_what_one_side_alone_has_differs_as_much_as_what_both_show(ours: Side, theirs: Side) -> None:
    found = compare(ours, theirs, moving=STILL, worth=WORTH).found

    here, there = set(ours.positions), set(theirs.positions)
    assert numbers(found, DifferenceKind.POSITION_UNKNOWN) == there - here
    assert numbers(found, DifferenceKind.POSITION_MISSING) == here - there
    assert numbers(found, DifferenceKind.ORDER_UNKNOWN) == set(theirs.orders) - set(ours.orders)
    assert numbers(found, DifferenceKind.ORDER_MISSING) == set(ours.orders) - set(theirs.orders)
    assert numbers(found, DifferenceKind.POSITION_VOLUME) == {
        number
        for number in here & there
        if (ours.positions[number].symbol, ours.positions[number].lots)
        != (theirs.positions[number].symbol, theirs.positions[number].lots)
    }


@given(sides(), sides())
def test_nothing_is_named_twice(ours: Side, theirs: Side) -> None:
    found = compare(ours, theirs, moving=STILL, worth=WORTH).found
    keys = [each.key for each in found]
    assert len(keys) == len(set(keys))
    positions = [each.number for each in found if each.kind in POSITIONS | {DifferenceKind.POSITION_PRICE}]
    assert len(positions) == len(set(positions))


@given(sides(), sides())
def test_what_the_books_lack_is_what_the_broker_has_more(ours: Side, theirs: Side) -> None:
    there = compare(ours, theirs, moving=STILL, worth=WORTH).found
    back = compare(theirs, ours, moving=STILL, worth=WORTH).found

    def sums(found: Iterable[Difference]) -> list[tuple[DifferenceKind, int | None, Decimal, Decimal | None]]:
        kinds = MONEY | {DifferenceKind.POSITION_PRICE}
        return [(each.kind, each.number, abs(each.amount), each.impact) for each in found if each.kind in kinds]

    assert sums(there) == sums(back)
    assert [each.amount for each in there if each.kind in MONEY] == [
        -each.amount for each in back if each.kind in MONEY
    ]


@given(volumes(), st.sampled_from([("EURUSD", "GBPUSD"), ("EURUSD", "EURUSD")]))
def test_opposite_positions_never_cancel(volume: Decimal, symbols: tuple[str, str]) -> None:
    long, short = symbols
    positions = {
        1: Held(symbol=long, lots=volume, price=None),
        2: Held(symbol=short, lots=-volume, price=None),
    }
    found = compare(EMPTY, replace(EMPTY, positions=positions), moving=STILL, worth=WORTH).found

    assert [each.amount for each in found] == [volume, -volume]
    assert [each.impact for each in found] == [volume * LOT, volume * LOT]


@given(cents(least=1))
def test_opposite_sums_of_money_never_cancel(amount: Decimal) -> None:
    found = compare(EMPTY, replace(EMPTY, balance=amount, credit=-amount), moving=STILL, worth=WORTH).found

    assert [(each.kind, each.amount, each.impact) for each in found] == [
        (DifferenceKind.BALANCE, amount, amount),
        (DifferenceKind.CREDIT, -amount, amount),
    ]


def test_the_same_number_in_another_symbol_is_all_of_both() -> None:
    mine = Held(symbol="EURUSD", lots=Decimal("0.10"), price=price("1.10000"))
    shown = Held(symbol="GBPUSD", lots=Decimal("0.30"), price=price("1.10000"))
    (found,) = compare(
        replace(EMPTY, positions={7: mine}), replace(EMPTY, positions={7: shown}), moving=STILL, worth=WORTH
    ).found
    assert (found.kind, found.impact) == (DifferenceKind.POSITION_VOLUME, Decimal("0.40") * LOT)


@pytest.mark.parametrize("sign", [1, -1])
def test_money_within_half_a_cent_is_the_brokers_rounding(sign: int) -> None:
    assert Decimal("0.005") == ROUNDING
    assert balance_differs_by(sign * Decimal("0.005")) == ()
    (found,) = balance_differs_by(sign * Decimal("0.00500001"))
    assert (found.kind, found.amount) == (DifferenceKind.BALANCE, sign * Decimal("0.00500001"))


@given(cents())
def test_any_cent_of_money_differs(amount: Decimal) -> None:
    assert [each.amount for each in balance_differs_by(amount)] == ([amount] if amount else [])


@pytest.mark.parametrize(
    ("mine", "shown", "differs"),
    [
        ("1.10000", "1.10001", False),
        ("1.10001", "1.10000", False),
        ("1.10000", "1.100011", True),
        (None, "1.20000", False),
        ("1.10000", None, False),
    ],
)
def test_prices_differ_by_more_than_one_step(mine: str | None, shown: str | None, *, differs: bool) -> None:
    def held(at: str | None) -> Side:
        known: Price | None = None if at is None else price(at)
        return replace(EMPTY, positions={7: Held(symbol="EURUSD", lots=Decimal("0.10"), price=known)})

    found = compare(held(mine), held(shown), moving=STILL, worth=WORTH).found
    assert [each.kind for each in found] == ([DifferenceKind.POSITION_PRICE] if differs else [])
    assert compare(held(mine), held(shown), moving=STILL, worth=replace(WORTH, ticks={})).found == ()


def test_what_has_no_rate_has_no_known_worth() -> None:
    held = Held(symbol="EURUSD", lots=Decimal("0.01"), price=None)
    theirs = replace(EMPTY, balance=CENT, positions={7: held})
    found = compare(EMPTY, theirs, moving=STILL, worth=Worth(lots={}, money=None)).found
    assert [each.impact for each in found] == [None, None]
    assert {THRESHOLDS.tier(each.kind, each.impact) for each in found} == {Tier.STOP}


def test_money_is_measured_in_dollars() -> None:
    (found,) = compare(
        EMPTY, replace(EMPTY, balance=Decimal(-80)), moving=STILL, worth=replace(WORTH, money=Decimal("1.25"))
    ).found
    assert (found.amount, found.impact) == (Decimal(-80), Decimal(100))


# What moves.


@given(sides(), sides(), movings())
def test_found_and_kept_out_are_all_that_differs_and_share_nothing(
    ours: Side, theirs: Side, moving: Moving
) -> None:
    compared = compare(ours, theirs, moving=moving, worth=WORTH)
    whole = compare(ours, theirs, moving=STILL, worth=WORTH)

    assert whole.kept_out == ()
    assert sorted(everything(compared), key=lambda each: each.key) == sorted(
        whole.found, key=lambda each: each.key
    )
    assert {each.key for each in compared.found} & {each.key for each in compared.kept_out} == set()


@given(sides(), sides(), movings())
def test_what_is_moving_is_never_found_and_what_rests_never_kept_out(
    ours: Side, theirs: Side, moving: Moving
) -> None:
    def moves(each: Difference) -> bool:
        if each.kind in MONEY:
            return moving.money
        return each.number in (moving.orders if each.kind in ORDERS else moving.positions)

    compared = compare(ours, theirs, moving=moving, worth=WORTH)
    assert not any(moves(each) for each in compared.found)
    assert all(moves(each) for each in compared.kept_out)


@given(st.lists(differences(), unique_by=lambda each: each.key), st.lists(differences()))
def test_only_what_both_readings_have_to_the_cent_is_confirmed(
    first: list[Difference], second: list[Difference]
) -> None:
    amounts = {(each.key, each.amount) for each in first}
    assert confirmed(first, second) == tuple(each for each in second if (each.key, each.amount) in amounts)


def test_a_cent_more_in_the_second_reading_is_not_confirmed() -> None:
    first = make_difference()
    assert confirmed([first], [first]) == (first,)
    assert confirmed([first], [replace(first, theirs=Decimal("1100.00"))]) == ()
    assert confirmed([first], [replace(first, kind=DifferenceKind.CREDIT, subject="credit")]) == ()
    assert confirmed([first], []) == confirmed([], [first]) == ()


def test_both_sides_may_move_by_the_same_between_the_readings() -> None:
    first = make_difference()
    second = replace(first, ours=Decimal(2000), theirs=Decimal("2099.99"))
    assert confirmed([first], [second]) == (second,)


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
            worth=replace(WORTH, money=Decimal(2)),
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
