"""Ticks: seeded walks, recordings, bars."""

from decimal import Decimal
from pathlib import Path

import pytest

from brokers.simulator import constants as mt5
from brokers.simulator.bars import bar_start, bars_of
from brokers.simulator.feed import Walk
from brokers.simulator.market import Quote
from brokers.simulator.recordings import BadRecording, read_recording
from brokers.simulator.symbols import SYMBOLS

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "ticks"
EURUSD = SYMBOLS[0]
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded quotes are not on this machine")


def walk(seed: int, count: int = 200) -> list[tuple[Decimal, Decimal]]:
    ticks = Walk(EURUSD, seed=seed, start=EURUSD.start_price)
    return [ticks.next() for _ in range(count)]


def test_the_same_seed_walks_the_same_path_and_another_does_not() -> None:
    assert walk(1) == walk(1)
    assert walk(1) != walk(2)


def test_a_walk_stays_on_the_grid_inside_a_sane_spread() -> None:
    low, high = EURUSD.spread_points
    for bid, ask in walk(5, 2000):
        assert EURUSD.on_tick(bid)
        assert low * EURUSD.point <= ask - bid <= high * EURUSD.point
        assert Decimal("1.0") < bid < Decimal("1.25")


@recorded
def test_a_histdata_file_is_read_with_its_gaps() -> None:
    ticks = read_recording(RECORDED / "EURUSD-histdata-2020-01-01.csv")
    assert len(ticks) == 9500
    assert (ticks[0].bid, ticks[0].ask) == (Decimal("1.121200"), Decimal("1.121720"))
    assert [round(tick.gap_seconds, 3) for tick in ticks[:3]] == [0.0, 10.382, 0.051]


@recorded
def test_a_headed_file_is_read() -> None:
    ticks = read_recording(RECORDED / "USDJPY-truefx-2013-01-01.csv")
    assert len(ticks) == 1000
    assert ticks[1].gap_seconds == pytest.approx(155.612)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no quotes"),
        ("timestamp,bid,ask\n", "no quotes"),
        ("20200101 170000065,1.1,1.2,0\nrubbish\n", "line 2"),
        ("timestamp,bid,ask\n2013-01-01 22:00:00+00:00,1.2,1.1\n", "line 2"),
        ("20200101 170000065,x,1.2,0\n", "line 1"),
        ("20200101 170001000,1.1,1.2,0\n20200101 170000000,1.1,1.2,0\n", "line 2: earlier"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(text)
    with pytest.raises(BadRecording, match=complaint) as failure:
        read_recording(path)
    assert str(path) in str(failure.value)


def test_bars_begin_where_their_timeframe_says() -> None:
    at = 1_772_460_123  # Monday 2 March 2026, 14:02:03
    assert bar_start(at, mt5.TIMEFRAME_M1) == at - 3
    assert bar_start(at, mt5.TIMEFRAME_M15) == at - 123
    assert bar_start(at, mt5.TIMEFRAME_H4) == at - 2 * 3600 - 123
    assert bar_start(at, mt5.TIMEFRAME_D1) == at - 14 * 3600 - 123
    assert bar_start(at, mt5.TIMEFRAME_W1) == at - 86_400 - 14 * 3600 - 123
    assert bar_start(at, mt5.TIMEFRAME_MN1) == bar_start(at, mt5.TIMEFRAME_W1)


def test_a_bar_has_the_extremes_of_its_ticks() -> None:
    prices = ["1.10000", "1.10020", "1.09990", "1.10010"]
    ticks = [Quote(60_000 + n, Decimal(p), Decimal(p) + Decimal("0.00010"), 6) for n, p in enumerate(prices)]
    (bar,) = bars_of(ticks, EURUSD, mt5.TIMEFRAME_M1)
    assert bar.row() == [60, 1.1, 1.1002, 1.0999, 1.1001, 4, 10, 0]
