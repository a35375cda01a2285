"""Scripted outcomes of the broker (facts §10.3)."""

from decimal import Decimal

import pytest

from brokers.simulator import constants as mt5
from brokers.simulator.faults import (
    AnswerLost,
    Delay,
    DoneLater,
    Faults,
    Hang,
    Partial,
    Placed,
    Reject,
    from_wire,
    to_wire,
)
from tests.brokers.simulator.bench import Bench

EVERY_KIND = [
    Reject(retcode=10006),
    Placed(after_ms=10, parts=2, fraction=Decimal("0.5")),
    DoneLater(after_ms=5),
    Partial(fraction=Decimal("0.25")),
    Delay(ms=3),
    AnswerLost(executed=True),
    Hang(executed=False),
]


def test_a_rejection_executes_nothing_but_reached_the_broker(bench: Bench) -> None:
    result = bench.deal(0, 0.1, fault=Reject(retcode=10004))
    assert (result.retcode, result.request_id, result.order) == (10004, 1, 0)
    assert bench.deals() == []


def test_placed_is_filled_later_in_parts(bench: Bench) -> None:
    result = bench.deal(0, 0.5, fault=Placed(after_ms=1000, parts=2), magic=7)
    assert (result.retcode, result.deal, result.volume) == (10008, 0, 0.0)
    assert [order.ticket for order in bench.orders()] == [result.order]
    bench.tick("EURUSD", "1.10100", "1.10110")
    assert bench.deals() == []
    bench.wait(0.5)
    assert [(d.volume, d.price) for d in bench.deals()] == [(0.25, 1.1011)]
    bench.wait(0.5)
    assert bench.position().volume == 0.5
    assert bench.past_order(result.order).state == mt5.ORDER_STATE_FILLED


@pytest.mark.parametrize(("fraction", "filled"), [("0", 0.0), ("0.4", 0.2)])
def test_placed_may_end_cancelled_with_less(bench: Bench, fraction: str, filled: float) -> None:
    result = bench.deal(0, 0.5, fault=Placed(after_ms=100, fraction=Decimal(fraction)))
    bench.wait(0.1)
    past = bench.past_order(result.order)
    assert (past.state, past.volume_current) == (mt5.ORDER_STATE_CANCELED, 0.5 - filled)
    assert sum(d.volume for d in bench.deals()) == filled


def test_done_without_a_deal_gets_its_deal_later(bench: Bench) -> None:
    result = bench.deal(0, 0.5, fault=DoneLater(after_ms=200))
    assert (result.retcode, result.deal, result.volume) == (10009, 0, 0.5)
    assert bench.deals() == []
    bench.wait(0.2)
    assert [d.order for d in bench.deals()] == [result.order]


def test_partial_cancels_the_rest(bench: Bench) -> None:
    result = bench.deal(0, 0.5, fault=Partial(fraction=Decimal("0.4")))
    assert (result.retcode, result.volume) == (10010, 0.2)
    assert bench.past_order(result.order).state == mt5.ORDER_STATE_CANCELED


@pytest.mark.parametrize("fault", EVERY_KIND)
def test_every_fault_survives_the_wire(fault: Reject) -> None:
    assert from_wire(to_wire(fault)) == fault


def test_faults_are_used_once_in_order_the_symbols_own_first() -> None:
    faults = Faults()
    faults.script("order_send", "*", [Reject(retcode=1)])
    faults.script("order_send", "EURUSD", [Reject(retcode=2), Reject(retcode=3)])
    taken = [faults.take("order_send", "EURUSD") for _ in range(4)]
    assert taken == [Reject(retcode=2), Reject(retcode=3), Reject(retcode=1), None]


def test_a_query_takes_only_transport_faults() -> None:
    with pytest.raises(ValueError, match="sends no order"):
        Faults().script("positions_get", "*", [Reject(retcode=1)])


@pytest.mark.parametrize("message", [{"kind": "nonsense"}, {"kind": "reject"}, {}])
def test_an_unknown_fault_is_named(message: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"no such fault|retcode"):
        from_wire(message)
