"""Absence is the hardest thing to prove: every piece of evidence has to be there."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.orders import BrokerOrderState
from domain.resolution import Absent, Found, Inconclusive, chosen, conclude
from tests.factories import NOW, make_fill, make_order

QUIET = timedelta(seconds=60)


def search(**changes: Any) -> Found | Absent | Inconclusive:
    """A complete search that found nothing, a quiet window after the sender's end."""
    values: dict[str, Any] = {
        "orders": (),
        "history_orders": (),
        "fills": (),
        "position_count": 0,
        "in_sync": True,
        "sender_ended_at": NOW,
        "read_at": NOW + QUIET,
        "quiet": QUIET,
    }
    return conclude(**{**values, **changes})


def test_absence_is_concluded_once_everything_is_proven() -> None:
    assert search() == Absent()


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"in_sync": False}, "history in sync"),
        ({"position_count": 1}, "position"),
        ({"read_at": NOW + QUIET - timedelta(milliseconds=1)}, "quiet seconds"),
    ],
)
def test_absence_is_never_concluded_without_each_proof(change: dict[str, Any], missing: str) -> None:
    conclusion = search(**change)

    assert isinstance(conclusion, Inconclusive)
    assert missing in "; ".join(conclusion.missing)


@given(
    in_sync=st.booleans(),
    position_count=st.integers(0, 2),
    waited=st.timedeltas(min_value=timedelta(0), max_value=2 * QUIET),
    traces=st.sets(st.sampled_from(["orders", "history_orders", "fills"])),
)
def test_absent_means_all_proofs_and_found_means_any_trace(
    *,
    in_sync: bool,
    position_count: int,
    waited: timedelta,
    traces: set[str],
) -> None:
    shown = {"orders": (make_order(),), "history_orders": (make_order(),), "fills": (make_fill(),)}
    conclusion = search(
        in_sync=in_sync,
        position_count=position_count,
        read_at=NOW + waited,
        **{name: shown[name] for name in traces},
    )
    assert isinstance(conclusion, Found) == bool(traces)
    proven = in_sync and position_count == 0 and waited >= QUIET and not traces
    assert isinstance(conclusion, Absent) == proven


def test_the_finished_record_counts_before_the_working_one() -> None:
    working, finished = make_order(), make_order(broker_order_id=7009)
    found = search(orders=(working,), history_orders=(finished,))

    assert isinstance(found, Found)
    assert (found.order, found.broker_order_id) == (finished, 7009)


def test_fills_alone_name_their_order() -> None:
    found = search(fills=(make_fill(broker_order_id=7005),))

    assert isinstance(found, Found)
    assert (found.order, found.broker_order_id) == (None, 7005)


def test_everything_missing_is_named_together() -> None:
    conclusion = search(in_sync=False, position_count=1, read_at=NOW)

    assert isinstance(conclusion, Inconclusive)
    assert len(conclusion.missing) == 3
    assert all(one != other for one, other in itertools.combinations(conclusion.missing, 2))


def test_a_refused_attempt_beside_the_order_never_stands_for_it() -> None:
    refused = make_order(broker_order_id=7001, state=BrokerOrderState.REJECTED)
    live = make_order(broker_order_id=7002, state=BrokerOrderState.WORKING)

    for orders in itertools.permutations([refused, live]):
        assert chosen(orders, broker_order_id=None) == live
        assert chosen(orders, broker_order_id=7001) == refused
        assert chosen(orders, broker_order_id=7003) is None
    assert chosen([refused], broker_order_id=None) == refused


def test_a_refused_attempt_alone_proves_nothing_while_another_may_travel() -> None:
    refused = make_order(state=BrokerOrderState.REJECTED)

    waiting = search(history_orders=(refused,), read_at=NOW)
    assert isinstance(waiting, Inconclusive)
    assert "refused" in waiting.found
    assert isinstance(search(history_orders=(refused,), in_sync=False), Inconclusive)
    assert search(history_orders=(refused,)) == Found(order=refused, fills=())
