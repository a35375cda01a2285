"""What differs between two sides of an account, what of it is kept out, and what a second reading confirms."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

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
)
from tests.factories import price
from tests.strategies import POINT, cents, prices, volumes

SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")
LOT = Decimal(100_000)
WORTH = Worth(lots=dict.fromkeys(SYMBOLS, LOT), money=Decimal(1), ticks=dict.fromkeys(SYMBOLS, POINT))
STILL = Moving()
EMPTY = Side(balance=ZERO, credit=ZERO, positions={}, orders={})
ORDERS = frozenset({DifferenceKind.ORDER_MISSING, DifferenceKind.ORDER_UNKNOWN})


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
    assert {Thresholds().tier(each.kind, each.impact) for each in found} == {Tier.STOP}


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
