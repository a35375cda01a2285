"""How limits change: a tightening stands, a loosening ends by itself, and for good only some may loosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import LimitTermRefused, LimitValueRefused, LooseningRefused
from domain.limits import (
    LOOSENED_FOR,
    LOOSENED_FOR_MAX,
    AskedLimit,
    Authority,
    ForGood,
    LimitName,
    Loosened,
    Standing,
    Unchanged,
    Unset,
    Until,
    check_limit_value,
    decide_change,
    lets_more_pass,
    loosens,
)
from tests.factories import NOW, make_asked_limit

HOUR = timedelta(hours=1)
LOSS = LimitName.DAILY_LOSS


def standing(base: str, loosened: str | None = None, *, left: timedelta = 4 * HOUR) -> Standing:
    """A base value, and one that was loosened an hour ago with so much time left."""
    if loosened is None:
        return Standing(base=Decimal(base), loosened=None)
    above = Loosened(value=Decimal(loosened), reason="test", set_at=NOW - HOUR, expires_at=NOW + left)
    return Standing(base=Decimal(base), loosened=above)


def decided(before: Standing | Unset, value: str, *, name: LimitName = LOSS, **asked: object) -> object:
    return decide_change(before, make_asked_limit(name, value, **asked), now=NOW)


def test_a_tightening_stands_until_it_is_changed() -> None:
    assert decided(standing("500"), "400") == ForGood()
    assert decided(standing("500"), "400", authority=Authority.FOR_A_TIME) == ForGood()
    assert decided(standing("500"), "400", permanent=True) == ForGood()


def test_a_tightening_ends_the_loosening_above_it() -> None:
    assert decided(standing("500", "800"), "400") == ForGood()
    assert decided(standing("500", "800"), "500") == ForGood()


def test_a_loosening_lasts_a_day_or_as_long_as_it_says() -> None:
    assert decided(standing("500"), "600") == Until(expires_at=NOW + LOOSENED_FOR)
    assert decided(standing("500"), "600", lasts=8 * HOUR) == Until(expires_at=NOW + 8 * HOUR)


def test_where_more_is_stricter_less_loosens() -> None:
    assert decided(standing("2"), "1", name=LimitName.STOPLESS_LOSS) == Until(expires_at=NOW + LOOSENED_FOR)
    assert decided(standing("2"), "3", name=LimitName.STOPLESS_LOSS) == ForGood()


def test_what_lies_between_the_base_and_a_loosening_loosens_still_and_is_not_prolonged() -> None:
    assert decided(standing("500", "800"), "600") == Until(expires_at=NOW + 4 * HOUR)
    assert decided(standing("500", "800"), "600", lasts=HOUR) == Until(expires_at=NOW + HOUR)


def test_an_expired_loosening_counts_for_nothing() -> None:
    expired = standing("500", "800", left=timedelta(0))

    assert expired.in_force_at(NOW) == 500
    assert expired.in_force_at(NOW - timedelta(microseconds=1)) == 800
    assert decided(expired, "500") == Unchanged()
    assert decided(expired, "800") == Until(expires_at=NOW + LOOSENED_FOR)


def test_the_same_again_changes_nothing() -> None:
    assert decided(standing("500"), "500.00") == Unchanged()
    assert decided(standing("500", "800"), "800") == Unchanged()
    assert decided(standing("500", "800"), "800", lasts=5 * HOUR) == Unchanged()


def test_a_loosening_is_prolonged_by_another_time_or_another_reason() -> None:
    assert decided(standing("500", "800"), "800", lasts=6 * HOUR) == Until(expires_at=NOW + 6 * HOUR)
    prolonged = decided(standing("500", "800"), "800", lasts=5 * HOUR, reason="it takes longer")
    assert prolonged == Until(expires_at=NOW + 5 * HOUR)


def test_for_good_loosens_who_may_and_says_so() -> None:
    assert decided(standing("500"), "600", permanent=True) == ForGood()
    assert decided(standing("500", "600"), "600", permanent=True) == ForGood()
    with pytest.raises(LooseningRefused, match="an admin alone loosens daily_loss for good"):
        decided(standing("500"), "600", permanent=True, authority=Authority.FOR_A_TIME)


def test_a_first_value_stands_and_is_an_admins_where_nothing_passed_without_it() -> None:
    assert decided(Unset(denies=True), "500") == ForGood()
    assert decided(Unset(denies=False), "500", authority=Authority.FOR_A_TIME) == ForGood()
    with pytest.raises(LooseningRefused):
        decided(Unset(denies=True), "500", authority=Authority.FOR_A_TIME)


@pytest.mark.parametrize("before", [standing("500"), standing("500", "800"), Unset(denies=True)])
def test_a_time_on_what_stands_is_refused(before: Standing | Unset) -> None:
    with pytest.raises(LimitTermRefused, match="leave the time out"):
        decided(before, "400", lasts=HOUR)


@pytest.mark.parametrize("lasts", [timedelta(0), -HOUR, LOOSENED_FOR_MAX + timedelta(seconds=1)])
def test_a_loosening_ends_in_time_to_be_seen(lasts: timedelta) -> None:
    with pytest.raises(LimitTermRefused, match="for 30 days at most"):
        decided(standing("500"), "600", lasts=lasts)


def test_a_loosening_for_a_time_and_for_good_is_refused() -> None:
    with pytest.raises(LimitTermRefused, match="say one of the two"):
        decided(standing("500"), "600", lasts=HOUR, permanent=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (LOSS, "-0.01"),
        (LOSS, "NaN"),
        (LOSS, "Infinity"),
        (LOSS, "1000000000000"),
        (LimitName.OPEN_ORDERS, "2.5"),
        (LimitName.PRICE_COLLAR, "4294967296"),
        (LimitName.DUPLICATE_WINDOW, "604801"),
    ],
)
def test_a_value_that_the_gates_cannot_reckon_with_is_refused(name: LimitName, value: str) -> None:
    with pytest.raises(LimitValueRefused, match=f"{name} cannot have this value; give a"):
        check_limit_value(name, Decimal(value))


@dataclass(frozen=True)
class Step:
    """A change that is asked for after some time has passed."""

    after: timedelta
    asked: AskedLimit


def steps(name: LimitName) -> st.SearchStrategy[list[Step]]:
    spans = st.integers(0, 72).map(lambda hours: hours * HOUR)
    asked = st.builds(
        AskedLimit,
        name=st.just(name),
        value=st.integers(0, 6).map(Decimal),
        reason=st.sampled_from(("one", "two")),
        lasts=st.none() | spans.filter(bool),
        permanent=st.booleans(),
        authority=st.sampled_from(Authority),
    )
    return st.lists(st.builds(Step, after=spans, asked=asked), max_size=12)


def carried_out(base: int, told: Sequence[Step]) -> list[tuple[Step, Standing, Standing]]:
    """Each step with what stood before and after it, refused ones left out; the clock goes on all the same."""
    before, now, done = Standing(base=Decimal(base), loosened=None), NOW, []
    for step in told:
        now += step.after
        try:
            change = decide_change(before, step.asked, now=now)
        except (LimitTermRefused, LooseningRefused):
            continue
        asked, after = step.asked, before
        match change:
            case ForGood():
                after = Standing(base=asked.value, loosened=None)
            case Until(expires_at=at):
                above = Loosened(value=asked.value, reason=asked.reason, set_at=now, expires_at=at)
                after = Standing(base=before.base, loosened=above)
        done.append((step, before, after))
        before = after
    return done


@given(
    st.sampled_from((LOSS, LimitName.STOPLESS_LOSS)).flatmap(lambda name: st.tuples(st.just(name), steps(name)))
)
def test_nothing_is_looser_than_the_base_but_what_has_yet_to_expire(case: tuple[LimitName, list[Step]]) -> None:
    name, told = case
    now = NOW
    for step, before, after in carried_out(3, told):
        asked = step.asked
        if loosens(name, before=before.base, after=after.base):
            assert asked.permanent
            assert asked.authority is Authority.FOR_GOOD
            assert asked.lasts is None
        for hours in range(0, 24 * 31, 7):
            at = now + hours * HOUR
            if loosens(name, before=after.base, after=after.in_force_at(at)):
                assert after.loosened is not None
                assert after.loosened.expires_at > at
        far = NOW + 12 * 72 * HOUR + LOOSENED_FOR_MAX
        assert after.in_force_at(far) == after.base


def in_force(before: Standing, after: object, value: Decimal, *, hours: int) -> tuple[Decimal, Decimal]:
    """What binds in so many hours, without the change and with it."""
    at = NOW + hours * HOUR
    match after:
        case ForGood():
            changed = value
        case Until(expires_at=end):
            changed = value if at < end else before.base
        case _:
            changed = before.in_force_at(at)
    return before.in_force_at(at), changed


@given(
    name=st.sampled_from([LOSS, LimitName.STOPLESS_LOSS]),
    base=st.integers(1, 9),
    loosened=st.none() | st.tuples(st.integers(1, 9), st.integers(0, 6)),
    value=st.integers(1, 9),
    lasts=st.none() | st.integers(1, 8),
    permanent=st.booleans(),
)
def test_a_change_lets_more_pass_if_it_does_so_at_any_time(
    *,
    name: LimitName,
    base: int,
    loosened: tuple[int, int] | None,
    value: int,
    lasts: int | None,
    permanent: bool,
) -> None:
    above, left = loosened or (base, 0)
    known = loosened is not None and loosens(name, before=Decimal(base), after=Decimal(above))
    before = standing(str(base), str(above) if known else None, left=left * HOUR)
    asked = make_asked_limit(
        name, str(value), lasts=None if lasts is None else lasts * HOUR, permanent=permanent, reason="again"
    )
    try:
        change = decide_change(before, asked, now=NOW)
    except LimitTermRefused:
        return
    ever = any(
        loosens(name, before=was, after=becomes)
        for was, becomes in (in_force(before, change, asked.value, hours=hours) for hours in range(40))
    )
    assert lets_more_pass(before, asked, change, now=NOW) == ever


def test_a_first_value_lets_more_pass_where_nothing_passed_before() -> None:
    asked = make_asked_limit(LOSS, "5", permanent=True)
    assert [lets_more_pass(Unset(denies=denies), asked, ForGood(), now=NOW) for denies in (True, False)] == [
        True,
        False,
    ]
