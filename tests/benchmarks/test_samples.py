"""What is said of the times that were taken."""

import pytest

from benchmarks.samples import Samples, percentile


def test_percentiles_are_values_that_were_taken() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]

    assert [percentile(values, percent) for percent in (0, 50, 80, 99, 100)] == [1.0, 3.0, 4.0, 5.0, 5.0]


def test_a_ratio_compares_within_rounds_so_that_a_slow_round_does_not_count() -> None:
    slower = Samples(name="slower", rounds=[[2.0], [20.0], [2.0]])
    floor = Samples(name="floor", rounds=[[1.0], [10.0], [1.0]])

    assert slower.ratio_to(floor) == pytest.approx(2.0)
    assert slower.summary() == {
        "n": 3,
        "p50_ms": 2.0,
        "p95_ms": 20.0,
        "p99_ms": 20.0,
        "max_ms": 20.0,
        "best_round_p50_ms": 2.0,
    }
