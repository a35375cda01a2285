"""What the terminal refuses, and in which order (facts §10.2)."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from brokers.simulator import constants as mt5
from brokers.simulator.parsing import trade_request
from brokers.simulator.requests import CallFailed
from brokers.simulator.structs import OrderCheckResult
from tests.brokers.simulator.bench import Bench

GOOD = {"action": 1, "symbol": "EURUSD", "type": 0, "volume": 0.1, "type_filling": 1}
PENDING = {"action": 5, "symbol": "EURUSD", "type": 2, "volume": 0.1, "price": 1.099, "type_filling": 2}


def set_terms(bench: Bench, symbol: str, **terms: Any) -> None:
    bench.terminal.symbols[symbol] = replace(bench.terminal.symbols[symbol], **terms)


@pytest.mark.parametrize(
    ("change", "retcode"),
    [
        ({"action": 0}, 10013),
        ({"action": 99}, 10013),
        ({"type": 3}, 10035),
        ({"symbol": "NOSUCH"}, 10013),
        ({"volume": 0.0}, 10014),
        ({"volume": 0.005}, 10014),
        ({"volume": 0.015}, 10014),
        ({"volume": 100.01}, 10014),
        ({"volume": float("nan")}, 10013),
        ({"type_filling": mt5.ORDER_FILLING_RETURN}, 10030),
        ({"type_filling": mt5.ORDER_FILLING_BOC}, 10030),
        ({"sl": 1.1}, 10016),
        ({"tp": 1.09}, 10016),
        ({"sl": 1.0900001}, 10016),
        ({"volume": 95.0}, 10019),
        ({"position": 12345}, 10036),
    ],
)
def test_a_bad_market_order_is_refused_before_anything_happens(
    bench: Bench, change: dict[str, Any], retcode: int
) -> None:
    result = bench.send(**{**GOOD, **change})
    assert (result.retcode, result.request_id, result.order, result.deal) == (retcode, 0, 0, 0)
    assert result.comment
    assert bench.deals() == []


@pytest.mark.parametrize(
    ("change", "retcode"),
    [
        ({"type": 0}, 10035),
        ({"price": 1.1001}, 10015),
        ({"price": 0.0}, 10015),
        ({"price": 1.0990001}, 10015),
        ({"type": 3}, 10015),
        ({"type": 4}, 10015),
        ({"type": 6, "price": 1.101}, 10015),
        ({"type": 6, "price": 1.101, "stoplimit": 1.102}, 10015),
        ({"type_time": 2, "expiration": 1}, 10022),
        ({"type_time": 2}, 10022),
        ({"type_time": 9}, 10022),
        ({"sl": 1.0995}, 10016),
    ],
)
def test_a_bad_pending_order_is_refused(bench: Bench, change: dict[str, Any], retcode: int) -> None:
    assert bench.send(**{**PENDING, **change}).retcode == retcode
    assert bench.orders() == []


@pytest.mark.parametrize(
    ("switch", "retcode"),
    [
        ("trade_allowed", 10027),
        ("account_trade_expert", 10026),
        ("account_trade_allowed", 10017),
        ("connected", 10031),
    ],
)
def test_permissions_come_before_all_else(bench: Bench, switch: str, retcode: int) -> None:
    setattr(bench.terminal.switches, switch, False)
    assert bench.send(**{**GOOD, "symbol": "NOSUCH"}).retcode == retcode


def test_the_switch_against_the_python_api_fails_the_call_itself(bench: Bench) -> None:
    bench.terminal.switches.tradeapi_disabled = True
    with pytest.raises(CallFailed) as failure:
        bench.send(**GOOD)
    assert failure.value.code == mt5.RES_E_AUTO_TRADING_DISABLED


@pytest.mark.parametrize(
    ("mode", "side", "retcode"),
    [
        (mt5.SYMBOL_TRADE_MODE_DISABLED, 0, 10017),
        (mt5.SYMBOL_TRADE_MODE_LONGONLY, 1, 10042),
        (mt5.SYMBOL_TRADE_MODE_SHORTONLY, 0, 10043),
        (mt5.SYMBOL_TRADE_MODE_CLOSEONLY, 0, 10044),
    ],
)
def test_the_symbols_trade_mode_is_kept(bench: Bench, mode: int, side: int, retcode: int) -> None:
    opened = bench.deal(1 - side, 0.1)
    set_terms(bench, "EURUSD", trade_mode=mode)
    assert bench.deal(side, 0.1).retcode == retcode
    if mode != mt5.SYMBOL_TRADE_MODE_DISABLED:
        assert bench.deal(side, 0.1, position=opened.order).retcode == 10009


def test_a_closed_session_and_a_hidden_symbol_have_no_prices_to_deal_at(bench: Bench) -> None:
    set_terms(bench, "EURUSD", session_open=False)
    assert bench.send(**GOOD).retcode == 10018
    bench.queries.symbol_select("XAUUSD", enable=False)
    assert bench.send(**{**GOOD, "symbol": "XAUUSD"}).retcode == 10021
    assert bench.queries.symbol_info_tick("XAUUSD")[1:3] == [0.0, 0.0]


def test_stops_and_freeze_levels_keep_their_distance(bench: Bench) -> None:
    opened = bench.deal(0, 0.1, sl=1.099)
    order = bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.0995)
    set_terms(bench, "EURUSD", stops_level=100, freeze_level=100)
    assert bench.deal(0, 0.1, sl=1.0995).retcode == 10016
    assert bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.0995).retcode == 10015
    assert bench.send(action=mt5.TRADE_ACTION_REMOVE, order=order.order).retcode == 10029
    change = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "position": opened.order}
    assert bench.send(**change, sl=1.09).retcode == 10029


def test_limits_on_volume_and_orders(bench: Bench) -> None:
    set_terms(bench, "EURUSD", volume_limit=Decimal("0.25"))
    bench.deal(0, 0.1)
    bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.099)
    assert bench.deal(0, 0.1).retcode == 10034
    assert bench.deal(1, 0.1).retcode == 10009
    bench.terminal.switches.limit_orders = 1
    assert bench.pend(mt5.ORDER_TYPE_SELL_LIMIT, 1.101).retcode == 10033


def test_closes_are_checked_against_the_position(bench: Bench) -> None:
    opened = bench.deal(0, 0.2)
    assert bench.deal(0, 0.1, position=opened.order).retcode == 10013
    assert bench.deal(1, 0.1, position=opened.order, symbol="GBPUSD").retcode == 10013
    assert bench.deal(1, 0.3, position=opened.order).retcode == 10038


def test_a_working_close_order_blocks_a_second_one(bench: Bench) -> None:
    opened = bench.deal(0, 0.4, symbol="US500")
    bench.deal(1, 0.3, symbol="US500")  # leaves 0.1 on the bid
    close = {"symbol": "US500", "position": opened.order, "type_filling": mt5.ORDER_FILLING_RETURN}
    assert bench.deal(1, 0.4, **close).volume == 0.1
    assert bench.deal(1, 0.1, **close).retcode == 10039


def test_order_check_projects_margin_and_answers_zero_for_done(bench: Bench) -> None:
    row = bench.queries.order_check(trade_request((), GOOD))
    check = OrderCheckResult(row)
    assert (check.retcode, check.comment, check.balance) == (0, "Done", 100_000.0)
    assert (check.margin, check.margin_free) == (110.01, 99_889.99)
    assert check.margin == bench.queries.order_calc_margin(0, "EURUSD", 0.1, 1.1001)
    assert (
        OrderCheckResult(bench.queries.order_check(trade_request((), {**GOOD, "volume": 95.0}))).retcode == 10019
    )


def test_a_magic_of_64_bits_is_kept_as_the_platforms_signed_long(bench: Bench) -> None:
    bench.deal(0, 0.1, magic=2**64 - 1)
    assert bench.position().magic == -1
