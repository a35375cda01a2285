"""The module against the package it stands for (facts §2, §3)."""

import pickle

import pytest

from brokers.simulator import MetaTrader5 as mt5  # noqa: N813 # as everybody calls it
from brokers.simulator import structs

VALUES = {
    "TRADE_ACTION_DEAL": 1,
    "TRADE_ACTION_PENDING": 5,
    "TRADE_ACTION_SLTP": 6,
    "TRADE_ACTION_MODIFY": 7,
    "TRADE_ACTION_REMOVE": 8,
    "TRADE_ACTION_CLOSE_BY": 10,
    "ORDER_TYPE_BUY_STOP_LIMIT": 6,
    "ORDER_TYPE_CLOSE_BY": 8,
    "ORDER_FILLING_FOK": 0,
    "ORDER_FILLING_IOC": 1,
    "ORDER_FILLING_RETURN": 2,
    "ORDER_FILLING_BOC": 3,
    "ORDER_TIME_SPECIFIED_DAY": 3,
    "ORDER_STATE_CANCELED": 2,
    "ORDER_STATE_FILLED": 4,
    "ORDER_STATE_REJECTED": 5,
    "ORDER_STATE_EXPIRED": 6,
    "DEAL_TYPE_BALANCE": 2,
    "DEAL_TYPE_SELL_CANCELED": 14,
    "DEAL_TAX": 17,
    "DEAL_ENTRY_INOUT": 2,
    "DEAL_ENTRY_OUT_BY": 3,
    "DEAL_REASON_SO": 6,
    "POSITION_REASON_EXPERT": 3,
    "SYMBOL_TRADE_EXECUTION_EXCHANGE": 3,
    "SYMBOL_TRADE_MODE_FULL": 4,
    "ACCOUNT_MARGIN_MODE_RETAIL_HEDGING": 2,
    "ACCOUNT_TRADE_MODE_REAL": 2,
    "TRADE_RETCODE_REQUOTE": 10004,
    "TRADE_RETCODE_DONE": 10009,
    "TRADE_RETCODE_FIFO_CLOSE": 10045,
    "TIMEFRAME_H1": 16385,
    "TIMEFRAME_W1": 32769,
    "TIMEFRAME_MN1": 49153,
    "COPY_TICKS_ALL": -1,
    "TICK_FLAG_SELL": 0x40,
    "BOOK_TYPE_BUY_MARKET": 4,
    "RES_S_OK": 1,
    "RES_E_AUTO_TRADING_DISABLED": -8,
    "RES_E_INTERNAL_FAIL": -10000,
    "RES_E_INTERNAL_FAIL_CONNECT": -10004,
    "RES_E_INTERNAL_FAIL_TIMEOUT": -10005,
}
FUNCTIONS = (
    "initialize",
    "login",
    "shutdown",
    "version",
    "last_error",
    "terminal_info",
    "account_info",
    "symbols_total",
    "symbols_get",
    "symbol_info",
    "symbol_info_tick",
    "symbol_select",
    "market_book_add",
    "market_book_get",
    "market_book_release",
    "copy_rates_from",
    "copy_rates_from_pos",
    "copy_rates_range",
    "copy_ticks_from",
    "copy_ticks_range",
    "orders_total",
    "orders_get",
    "positions_total",
    "positions_get",
    "history_orders_total",
    "history_orders_get",
    "history_deals_total",
    "history_deals_get",
    "order_calc_margin",
    "order_calc_profit",
    "order_check",
    "order_send",
)
ABSENT = ("SYMBOL_FILLING_FOK", "SYMBOL_FILLING_IOC", "SYMBOL_ORDER_MARKET", "TRADE_RETCODE_HEDGE_PROHIBITED")
FIELDS = {
    structs.AccountInfo: (28, "login", "company"),
    structs.TerminalInfo: (22, "community_account", "commondata_path"),
    structs.Tick: (8, "time", "volume_real"),
    structs.TradeOrder: (24, "ticket", "external_id"),
    structs.TradePosition: (19, "ticket", "external_id"),
    structs.TradeDeal: (18, "ticket", "external_id"),
    structs.TradeRequest: (17, "action", "position_by"),
    structs.OrderSendResult: (11, "retcode", "request"),
    structs.OrderCheckResult: (9, "retcode", "request"),
    structs.BookInfo: (4, "type", "volume_dbl"),
    structs.SymbolInfo: (96, "custom", "path"),
}


def test_constants_have_the_packages_values() -> None:
    assert {name: getattr(mt5, name) for name in VALUES} == VALUES
    assert mt5.__version__ == "5.0.6231"


def test_what_the_package_leaves_out_is_left_out() -> None:
    assert [name for name in ABSENT if hasattr(mt5, name)] == []


def test_every_function_is_there() -> None:
    assert [name for name in FUNCTIONS if not callable(getattr(mt5, name, None))] == []


@pytest.mark.parametrize(("kind", "expected"), FIELDS.items())
def test_structs_have_the_packages_fields(kind: type[structs.Struct], expected: tuple[int, str, str]) -> None:
    struct = kind(kind.row())
    names = list(struct._asdict())
    assert (len(names), names[0], names[-1]) == expected
    assert isinstance(struct, tuple)
    assert getattr(struct, names[0]) == struct[0]


def test_structs_are_no_named_tuples_and_cannot_be_pickled() -> None:
    tick = structs.Tick(structs.Tick.row(bid=1.5))
    assert not hasattr(tick, "_fields")
    assert not hasattr(tick, "_replace")
    assert tick.bid == tick[1] == 1.5
    with pytest.raises(AttributeError):
        tick.bid = 2.0
    with pytest.raises(AttributeError, match="no attribute 'price'"):
        _ = tick.price
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(tick)
