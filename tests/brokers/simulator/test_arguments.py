"""Argument rules, which hold before anything leaves the process (facts §2.4, §4.1)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from brokers.simulator import MetaTrader5 as mt5  # noqa: N813 # as everybody calls it
from brokers.simulator import parsing
from brokers.simulator.client import TerminalError

NOT_SENT = (-10004, "No IPC connection")
GOOD: dict[str, Any] = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("volume", 1),
        ("volume", Decimal("0.1")),
        ("volume", np.float32(0.1)),
        ("price", None),
        ("sl", "1.1"),
        ("action", 1.0),
        ("magic", np.int64(5)),
        ("magic", -1),
        ("magic", 2**64),
        ("type", None),
        ("expiration", datetime(2030, 1, 1, tzinfo=UTC)),
        ("comment", "x" * 30),
        ("comment", "\N{GRINNING FACE}" * 15),
        ("comment", None),
        ("symbol", 7),
        ("position", "1"),
    ],
)
def test_a_field_of_the_wrong_type_is_not_sent(name: str, value: object) -> None:
    assert mt5.order_send({**GOOD, name: value}) is None
    assert mt5.last_error() == (-2, f'Invalid "{name}" argument')


@pytest.mark.parametrize(
    "change",
    [{"volume": np.float64(0.1)}, {"magic": True}, {"comment": "x" * 29}, {"typo": object()}, {"expiration": -1}],
)
def test_what_the_parser_takes_reaches_the_connection(change: dict[str, Any]) -> None:
    assert mt5.order_send({**GOOD, **change}) is None
    assert mt5.last_error() == NOT_SENT


def test_missing_fields_are_zero_and_unknown_ones_are_dropped() -> None:
    request = parsing.trade_request(({"symbol": "EURUSD", "vollume": 1.0},), {})
    assert (request["type"], request["type_filling"], request["volume"]) == (0, 0, 0.0)
    assert "vollume" not in request


def test_a_request_given_by_the_name_request_is_an_empty_one() -> None:
    assert parsing.trade_request((), {"request": GOOD})["action"] == 0


@pytest.mark.parametrize("args", [(1,), ("EURUSD",), ()])
def test_what_is_no_request_is_refused(args: tuple[Any, ...]) -> None:
    assert mt5.order_send(*args) is None
    assert mt5.last_error()[0] == -2


def test_without_a_connection_each_call_has_its_failure_value() -> None:
    assert mt5.positions_get() is None
    assert mt5.last_error() == NOT_SENT
    assert mt5.orders_total() is None
    assert mt5.symbol_select("EURUSD") is False
    assert mt5.login(1) is False
    assert mt5.market_book_add("EURUSD") is False
    assert mt5.last_error() == NOT_SENT


def test_keywords_on_positional_calls_raise() -> None:
    for call in (mt5.symbol_info, mt5.symbol_info_tick, mt5.symbol_select, mt5.copy_rates_from_pos):
        with pytest.raises(TypeError):
            call(symbol="EURUSD")
    with pytest.raises(TypeError):
        mt5.account_info(1)


@pytest.mark.parametrize(
    ("call", "args", "fields", "message"),
    [
        (mt5.positions_get, ("EURUSD",), {}, "Unnamed arguments not allowed"),
        (mt5.positions_get, (), {"symbol": "X" * 30}, 'Invalid "symbol" argument'),
        (mt5.positions_get, (), {"ticket": "1"}, 'Invalid "ticket" argument'),
        (mt5.history_deals_get, (), {}, "Invalid arguments"),
        (mt5.history_deals_get, (), {"date_from": 1, "date_to": 2}, "Invalid arguments"),
        (mt5.history_deals_get, (), {"ticket": 1, "position": 2}, "Invalid arguments"),
        (mt5.history_deals_get, (1, 2), {"symbol": "EURUSD"}, "Invalid arguments"),
        (mt5.history_deals_get, (0, 2), {}, "Invalid 1st unnamed argument"),
        (mt5.history_orders_get, (1, "tomorrow"), {}, "Invalid 2nd unnamed argument"),
        (mt5.history_orders_get, (1,), {}, "Invalid number of arguments"),
        (mt5.symbol_info, (1,), {}, "Invalid 1st unnamed argument"),
        (mt5.symbol_info, (), {}, "Invalid number of arguments"),
    ],
)
def test_bad_arguments_are_named(call: Any, args: tuple[Any, ...], fields: dict[str, Any], message: str) -> None:
    assert call(*args, **fields) is None
    assert mt5.last_error() == (-2, message)


def test_dates_are_read_as_the_package_reads_them() -> None:
    assert parsing.seconds(0, 1.9) == 1
    assert parsing.seconds(0, datetime(2026, 3, 2, tzinfo=UTC)) == 1_772_409_600
    assert parsing.seconds(0, 2**31) == -(2**31)  # 2038 and later overflow
    with pytest.raises(TerminalError):
        parsing.seconds(0, 0)


@pytest.mark.parametrize(
    ("mask", "chosen"),
    [
        ("EURUSD", ["EURUSD"]),
        ("*USD*", ["EURUSD", "GBPUSD", "USDJPY"]),
        ("*USD*,!EUR*", ["GBPUSD", "USDJPY"]),
        ("!EUR*,*", ["EURUSD", "GBPUSD", "USDJPY", "US500"]),
        ("US*0", ["US500"]),
        ("eurusd", []),
    ],
)
def test_group_masks_apply_in_order(mask: str, chosen: list[str]) -> None:
    assert [name for name in ("EURUSD", "GBPUSD", "USDJPY", "US500") if parsing.matches(mask, name)] == chosen


def test_initialize_says_when_no_terminal_is_there() -> None:
    assert mt5.initialize("127.0.0.1:1") is False
    assert mt5.last_error()[0] == -10003
    assert mt5.initialize("C:\\MT5\\terminal64.exe") is False
    assert mt5.last_error()[0] == -10003
