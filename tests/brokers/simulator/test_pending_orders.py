"""Pending orders: triggers, expiry, modification, removal (facts §4.2, §10.2b)."""

import pytest

from brokers.simulator import constants as mt5
from tests.brokers.simulator.bench import Bench

TRIGGERS = [
    (mt5.ORDER_TYPE_BUY_LIMIT, 1.09900, ("1.09891", "1.09901"), ("1.09890", "1.09900")),
    (mt5.ORDER_TYPE_SELL_LIMIT, 1.10100, ("1.10099", "1.10109"), ("1.10100", "1.10110")),
    (mt5.ORDER_TYPE_BUY_STOP, 1.10100, ("1.10089", "1.10099"), ("1.10090", "1.10100")),
    (mt5.ORDER_TYPE_SELL_STOP, 1.09900, ("1.09901", "1.09911"), ("1.09900", "1.09910")),
]


@pytest.mark.parametrize(("kind", "price", "before", "at"), TRIGGERS)
def test_a_pending_order_waits_until_its_price_and_then_fills(
    bench: Bench, kind: int, price: float, before: tuple[str, str], at: tuple[str, str]
) -> None:
    result = bench.pend(kind, price, magic=9)
    assert (result.retcode, result.deal) == (10009, 0)
    (order,) = bench.orders()
    assert (order.state, order.position_id, order.time_done) == (mt5.ORDER_STATE_PLACED, 0, 0)
    bench.tick("EURUSD", *before)
    assert bench.deals() == []
    bench.tick("EURUSD", *at)
    assert bench.orders() == []
    (deal,) = bench.deals()
    assert (deal.order, deal.magic, deal.price) == (result.order, 9, price)
    past = bench.past_order(result.order)
    assert (past.state, past.position_id, past.type) == (mt5.ORDER_STATE_FILLED, bench.position().identifier, kind)


def test_a_stop_limit_first_becomes_a_limit_and_then_fills(bench: Bench) -> None:
    result = bench.pend(mt5.ORDER_TYPE_BUY_STOP_LIMIT, 1.10100, stoplimit=1.10050)
    bench.tick("EURUSD", "1.10092", "1.10102")
    (order,) = bench.orders()
    assert (order.ticket, order.type, order.price_open) == (result.order, mt5.ORDER_TYPE_BUY_LIMIT, 1.1005)
    assert bench.deals() == []
    bench.tick("EURUSD", "1.10040", "1.10050")
    assert bench.position().price_open == 1.1005


def test_a_limit_fills_only_the_depth_up_to_its_price_and_keeps_the_rest(bench: Bench) -> None:
    result = bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.09901, volume=2.5)
    bench.tick("EURUSD", "1.09890", "1.09900")
    (order,) = bench.orders()
    assert (order.state, order.volume_current) == (mt5.ORDER_STATE_PARTIAL, 0.5)
    bench.send(action=mt5.TRADE_ACTION_REMOVE, order=result.order)
    past = bench.past_order(result.order)
    assert (past.state, past.volume_initial, past.volume_current) == (mt5.ORDER_STATE_CANCELED, 2.5, 0.5)
    assert bench.position().volume == 2.0


def test_a_stop_that_began_to_fill_goes_on_at_any_price(bench: Bench) -> None:
    bench.tick("US500", "5000.0", "5000.5")
    bench.pend(mt5.ORDER_TYPE_BUY_STOP, 5001.0, volume=0.6, symbol="US500")
    bench.tick("US500", "5000.5", "5001.0")
    bench.tick("US500", "4990.0", "4990.5")
    assert [(d.volume, d.price) for d in bench.deals()] == [(0.4, 5001.0), (0.2, 4990.5)]


@pytest.mark.parametrize("filling", [mt5.ORDER_FILLING_FOK, mt5.ORDER_FILLING_IOC])
def test_a_triggered_order_without_depth_ends_by_its_filling_mode(bench: Bench, filling: int) -> None:
    result = bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.09900, volume=2.5, type_filling=filling)
    bench.tick("EURUSD", "1.09890", "1.09900")
    assert bench.past_order(result.order).state == mt5.ORDER_STATE_CANCELED
    filled = 0.0 if filling == mt5.ORDER_FILLING_FOK else 1.0
    assert sum(d.volume for d in bench.deals()) == filled


def test_post_only_that_would_fill_at_once_is_cancelled(bench: Bench) -> None:
    result = bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 5001.0, symbol="US500", type_filling=mt5.ORDER_FILLING_BOC)
    assert result.retcode == 10007
    assert bench.past_order(result.order).state == mt5.ORDER_STATE_CANCELED
    assert bench.deals() == []


def test_a_pending_order_without_margin_at_its_trigger_is_cancelled(bench: Bench) -> None:
    result = bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.09900, volume=95.0)
    bench.tick("EURUSD", "1.09890", "1.09900")
    assert bench.past_order(result.order).state == mt5.ORDER_STATE_CANCELED
    assert bench.deals() == []


def test_orders_expire_on_the_server_clock(bench: Bench) -> None:
    timed = bench.pend(
        mt5.ORDER_TYPE_BUY_LIMIT, 1.09, type_time=mt5.ORDER_TIME_SPECIFIED, expiration=bench.now + 60
    )
    daily = bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.09, type_time=mt5.ORDER_TIME_DAY)
    bench.wait(60)
    assert len(bench.orders()) == 2
    bench.wait(1)
    assert bench.past_order(timed.order).state == mt5.ORDER_STATE_EXPIRED
    bench.wait(10 * 3600 - 61)  # it is now midnight at the broker, ten hours after 14:00
    assert bench.past_order(daily.order).state == mt5.ORDER_STATE_EXPIRED


def test_modify_replaces_prices_and_says_when_nothing_changes(bench: Bench) -> None:
    result = bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.09900, sl=1.09, tp=1.11)
    change = {"action": mt5.TRADE_ACTION_MODIFY, "order": result.order, "price": 1.098, "sl": 1.09}
    assert bench.send(**change).retcode == 10009
    (order,) = bench.orders()
    assert (order.price_open, order.sl, order.tp) == (1.098, 1.09, 0.0)
    assert bench.send(**change).retcode == 10025


def test_an_order_that_is_gone_cannot_be_modified_or_removed(bench: Bench) -> None:
    result = bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.09900)
    assert bench.send(action=mt5.TRADE_ACTION_REMOVE, order=result.order).retcode == 10009
    again = bench.send(action=mt5.TRADE_ACTION_REMOVE, order=result.order)
    assert (again.retcode, again.request_id) == (10035, 0)
