from datetime import UTC, datetime, timedelta
from decimal import Decimal

from brokers.mt5.zone_watch import ZoneWatch
from domain.money import Price
from domain.orders import Quote

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
ONE = Price(Decimal(1))


def quote(*, at: datetime, read_at: datetime, symbol: str = "EURUSD") -> Quote:
    return Quote(symbol=symbol, bid=ONE, ask=ONE, at=at, read_at=read_at)


def looks(*ats: datetime) -> list[timedelta | None]:
    watch = ZoneWatch()
    return [watch.offset([quote(at=at, read_at=NOON + timedelta(seconds=n))]) for n, at in enumerate(ats)]


def test_a_live_quote_from_another_hour_gives_the_zone_away() -> None:
    hour = timedelta(hours=1)
    for off in (hour, -hour):
        first, second = looks(NOON + off, NOON + off + timedelta(seconds=1))
        assert first is None
        assert second == off


def test_the_old_quote_of_a_closed_market_tells_nothing() -> None:
    friday = NOON - timedelta(days=1)
    assert looks(friday, friday, friday) == [None, None, None]


def test_a_quote_that_changed_over_a_long_pause_tells_nothing() -> None:
    watch = ZoneWatch()
    assert watch.offset([quote(at=NOON - timedelta(hours=9), read_at=NOON)]) is None
    later = NOON + timedelta(hours=2)
    assert watch.offset([quote(at=NOON - timedelta(hours=1), read_at=later)]) is None


def test_a_clock_that_was_seen_wrong_is_wrong_until_it_is_seen_right() -> None:
    hour, second = timedelta(hours=1), timedelta(seconds=1)
    off = NOON + hour + second
    assert looks(NOON + hour, off, off, off, NOON + 4 * second) == [None, hour, hour, hour, None]


def test_one_quote_that_fits_speaks_for_the_zone() -> None:
    watch = ZoneWatch()
    for second in (0, 1):
        now = NOON + timedelta(seconds=second)
        odd = quote(symbol="ODD", at=now - timedelta(hours=3), read_at=now)
        assert watch.offset([odd, quote(at=now, read_at=now)]) is None
