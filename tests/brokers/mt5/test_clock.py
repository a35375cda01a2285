from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.mt5.clock import ServerClock

ATHENS = ServerClock(ZoneInfo("Europe/Athens"))
NEW_YORK_RULE = ServerClock(ZoneInfo("America/New_York"))
# Athens puts its clock back at 01:00 UTC: 03:00 to 04:00 happens twice.
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC)

instants = st.integers(min_value=1_577_836_800, max_value=2_051_222_400).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)


@pytest.mark.parametrize(("month", "hours"), [(1, 2), (7, 3)])
def test_the_servers_clock_is_ahead_by_the_season(month: int, hours: int) -> None:
    instant = datetime(2026, month, 10, 12, tzinfo=UTC)
    assert ATHENS.to_server(instant) == int(instant.timestamp()) + hours * 3600
    assert ATHENS.to_utc(ATHENS.to_server(instant) * 1000) == instant


@given(instants)
def test_every_instant_comes_back_but_for_the_hour_that_autumn_repeats(instant: datetime) -> None:
    back = ATHENS.to_utc(ATHENS.to_server(instant) * 1000)
    assert back in (instant, instant - timedelta(hours=1))
    assert ATHENS.to_utc_near(ATHENS.to_server(instant) * 1000, instant) == instant


def test_a_record_of_the_repeated_hour_has_one_instant_and_a_tick_the_present_one() -> None:
    second = AUTUMN + timedelta(minutes=30)
    wall = ATHENS.to_server(second) * 1000
    assert ATHENS.to_utc(wall) == second - timedelta(hours=1)
    assert ATHENS.to_utc_near(wall, second) == second


@given(instants, st.integers(min_value=0, max_value=172_800))
def test_a_window_holds_everything_since_its_beginning(since: datetime, later: int) -> None:
    record = since + timedelta(seconds=later)
    for clock in (ATHENS, NEW_YORK_RULE):
        start, end = clock.window(since, record)
        assert start <= clock.to_server(record) <= end


def test_milliseconds_are_kept() -> None:
    assert ATHENS.to_utc(1_784_000_000_123).microsecond == 123_000
