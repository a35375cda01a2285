"""Market orders by depth and filling mode (facts §4.3, §6, §10.2b)."""

from decimal import Decimal

import pytest

from brokers.simulator import constants as mt5
from tests.brokers.simulator.bench import Bench


def test_a_buy_fills_at_ask_and_opens_a_position_under_the_orders_ticket(bench: Bench) -> None:
    result = bench.deal(mt5.ORDER_TYPE_BUY, 0.1, magic=7, comment="hello")
    assert (result.retcode, result.volume, result.price, result.request_id) == (10009, 0.1, 1.1001, 1)
    position = bench.position()
    assert position.ticket == position.identifier == result.order
    assert (position.magic, position.comment, position.reason, position.type) == (7, "hello", 3, 0)
    assert position.profit == -1.0  # one point of spread of ten, on a tenth of a lot
    (deal,) = bench.deals()
    assert (deal.ticket, deal.order, deal.position_id) == (result.deal, result.order, result.order)
    assert (deal.entry, deal.commission, deal.magic) == (mt5.DEAL_ENTRY_IN, -0.35, 7)


def test_a_filled_market_order_is_history_with_nothing_left(bench: Bench) -> None:
    order = bench.past_order(bench.deal(mt5.ORDER_TYPE_SELL, 0.1).order)
    assert (order.state, order.volume_initial, order.volume_current) == (mt5.ORDER_STATE_FILLED, 0.1, 0.0)
    assert order.time_done_msc >= order.time_setup_msc
    assert order.price_open == 0.0
    assert bench.orders() == []


def test_an_order_larger_than_a_level_fills_by_several_deals_of_one_position(bench: Bench) -> None:
    result = bench.deal(mt5.ORDER_TYPE_BUY, 2.5)
    assert [(d.volume, d.price) for d in bench.deals()] == [(1.0, 1.1001), (1.0, 1.10011), (0.5, 1.10012)]
    assert bench.position().volume == 2.5
    assert result.price == pytest.approx(1.100108)


def test_what_was_taken_from_the_depth_is_gone_until_the_next_tick(bench: Bench) -> None:
    bench.deal(mt5.ORDER_TYPE_BUY, 0.4)
    bench.deal(mt5.ORDER_TYPE_BUY, 1.0)
    assert [(d.volume, d.price) for d in bench.deals()][1:] == [(0.6, 1.1001), (0.4, 1.10011)]
    bench.tick("EURUSD", "1.10000", "1.10010")
    assert bench.deal(mt5.ORDER_TYPE_BUY, 1.0).price == 1.1001


def test_ioc_fills_what_it_can_and_cancels_the_rest(bench: Bench) -> None:
    result = bench.deal(mt5.ORDER_TYPE_BUY, 12.0, type_filling=mt5.ORDER_FILLING_IOC)
    assert (result.retcode, result.volume) == (10010, 10.0)
    order = bench.past_order(result.order)
    assert (order.state, order.volume_current) == (mt5.ORDER_STATE_CANCELED, 2.0)


def test_fok_fills_whole_or_not_at_all(bench: Bench) -> None:
    refused = bench.deal(mt5.ORDER_TYPE_BUY, 10.01, type_filling=mt5.ORDER_FILLING_FOK)
    assert (refused.retcode, refused.volume, refused.deal) == (10006, 0.0, 0)
    assert bench.past_order(refused.order).state == mt5.ORDER_STATE_CANCELED
    assert bench.deals() == []
    assert bench.deal(mt5.ORDER_TYPE_BUY, 10.0, type_filling=mt5.ORDER_FILLING_FOK).volume == 10.0


def test_return_keeps_the_rest_working_over_several_ticks_under_exchange_execution(bench: Bench) -> None:
    result = bench.deal(mt5.ORDER_TYPE_BUY, 1.0, symbol="US500", type_filling=mt5.ORDER_FILLING_RETURN)
    assert (result.retcode, result.volume) == (10009, 0.4)
    (working,) = bench.orders()
    assert (working.state, working.volume_current) == (mt5.ORDER_STATE_PARTIAL, 0.6)
    bench.tick("US500", "5001.0", "5001.5")
    bench.tick("US500", "5002.0", "5002.5")
    assert bench.orders() == []
    assert [(d.volume, d.price) for d in bench.deals()] == [(0.4, 5000.5), (0.4, 5001.5), (0.2, 5002.5)]
    assert bench.past_order(result.order).state == mt5.ORDER_STATE_FILLED


def test_a_position_closed_between_two_fills_comes_back_under_its_ticket(bench: Bench) -> None:
    opened = bench.deal(mt5.ORDER_TYPE_BUY, 0.6, symbol="US500", type_filling=mt5.ORDER_FILLING_RETURN)
    bench.deal(mt5.ORDER_TYPE_SELL, 0.4, symbol="US500", position=opened.order)
    assert bench.positions() == []
    bench.tick("US500", "5001.0", "5001.5")
    assert (bench.position().ticket, bench.position().volume) == (opened.order, 0.2)


def test_a_partial_close_keeps_ticket_and_identifier(bench: Bench) -> None:
    opened = bench.deal(mt5.ORDER_TYPE_BUY, 0.5, magic=7)
    bench.tick("EURUSD", "1.10110", "1.10120")
    closed = bench.deal(mt5.ORDER_TYPE_SELL, 0.2, position=opened.order, magic=8)
    assert closed.retcode == 10009
    assert (bench.position().ticket, bench.position().volume) == (opened.order, 0.3)
    out = bench.deals()[-1]
    assert (out.entry, out.position_id, out.magic, out.profit) == (mt5.DEAL_ENTRY_OUT, opened.order, 8, 20.0)
    assert bench.past_order(closed.order).position_id == opened.order


def test_an_opposite_order_without_position_opens_a_second_one_on_hedging(bench: Bench) -> None:
    bench.deal(mt5.ORDER_TYPE_BUY, 0.1)
    bench.deal(mt5.ORDER_TYPE_SELL, 0.1)
    assert [p.type for p in bench.positions()] == [0, 1]


def test_close_by_books_the_profit_on_the_first_exit_deal_only(bench: Bench) -> None:
    long = bench.deal(mt5.ORDER_TYPE_BUY, 0.3)
    bench.tick("EURUSD", "1.10110", "1.10120")
    short = bench.deal(mt5.ORDER_TYPE_SELL, 0.2)
    result = bench.send(action=mt5.TRADE_ACTION_CLOSE_BY, position=long.order, position_by=short.order)
    assert result.retcode == 10009
    first, second = bench.deals()[-2:]
    assert (first.entry, second.entry) == (mt5.DEAL_ENTRY_OUT_BY, mt5.DEAL_ENTRY_OUT_BY)
    assert (first.position_id, first.price, first.profit) == (long.order, 1.1011, 20.0)
    assert (second.position_id, second.profit) == (short.order, 0.0)
    assert (first.type, second.type) == (mt5.DEAL_TYPE_SELL, mt5.DEAL_TYPE_BUY)
    assert bench.position().volume == 0.1
    order = bench.past_order(result.order)
    assert (order.type, order.position_id, order.position_by_id) == (8, long.order, short.order)


def test_profit_in_another_currency_is_converted(bench: Bench) -> None:
    opened = bench.deal(mt5.ORDER_TYPE_BUY, 1.0, symbol="USDJPY")
    bench.tick("USDJPY", "151.000", "151.010")
    bench.deal(mt5.ORDER_TYPE_SELL, 1.0, symbol="USDJPY", position=opened.order)
    # 0.990 JPY on 100,000 USD, at the ask of 151.010 JPY for a dollar.
    assert bench.deals()[-1].profit == float(round(Decimal(99_000) / Decimal("151.010"), 2))
