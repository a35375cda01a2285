"""The module against the package it stands for: `facts/package.json` is that of version 5.0.6231 (facts §2, §3).

Structs are given as their fields in order, with f for float, s for text, b for truth; the rest are integers.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from brokers.simulator import MetaTrader5 as mt5  # noqa: N813 # as everybody calls it
from brokers.simulator import constants, structs

PACKAGE: dict[str, Any] = json.loads((Path(__file__).parent / "facts" / "package.json").read_text())
FUNCTIONS = PACKAGE["functions"]
LEFT_OUT = {"Buy", "Sell", "Close", "_RawOrder"}
KINDS = {"f": float, "s": str, "b": bool, "": int}
NESTED = {"OrderSendResult": "request", "OrderCheckResult": "request"}
NO_CONNECTION = (-10004, "No IPC connection")


def test_constants_are_the_packages_no_more_and_no_less() -> None:
    ours = {name: value for name, value in vars(constants).items() if name.isupper()}
    assert ours == PACKAGE["constants"]
    assert {name: getattr(mt5, name) for name in ours} == ours
    assert mt5.__version__ == "5.0.6231"


def test_every_function_is_there_but_the_helpers_that_resend() -> None:
    names = [*FUNCTIONS["keyword"], *FUNCTIONS["positional"], *FUNCTIONS["bare"]]
    assert [name for name in names if not callable(getattr(mt5, name, None))] == []
    assert [name for name in LEFT_OUT if hasattr(mt5, name)] == []


@pytest.mark.parametrize("name", FUNCTIONS["positional"])
def test_a_positional_function_takes_no_keyword(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(mt5, name)(symbol="EURUSD")


@pytest.mark.parametrize("name", FUNCTIONS["bare"])
def test_a_bare_function_takes_nothing(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(mt5, name)("EURUSD")
    with pytest.raises(TypeError):
        getattr(mt5, name)(symbol="EURUSD")


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "symbol_info": ("EURUSD",),
    "symbol_info_tick": ("EURUSD",),
    "symbol_select": ("EURUSD", True),
    "market_book_add": ("EURUSD",),
    "market_book_get": ("EURUSD",),
    "market_book_release": ("EURUSD",),
    "copy_rates_from": ("EURUSD", 1, 1_700_000_000, 1),
    "copy_rates_from_pos": ("EURUSD", 1, 0, 1),
    "copy_rates_range": ("EURUSD", 1, 1_700_000_000, 1_800_000_000),
    "copy_ticks_from": ("EURUSD", 1_700_000_000, 1, -1),
    "copy_ticks_range": ("EURUSD", 1_700_000_000, 1_800_000_000, -1),
    "history_orders_total": (1_700_000_000, 1_800_000_000),
    "history_deals_total": (1_700_000_000, 1_800_000_000),
    "history_orders_get": (1_700_000_000, 1_800_000_000),
    "history_deals_get": (1_700_000_000, 1_800_000_000),
    "order_calc_margin": (0, "EURUSD", 0.1, 1.1),
    "order_calc_profit": (0, "EURUSD", 0.1, 1.1, 1.2),
    "order_check": ({"action": 1},),
    "order_send": ({"action": 1},),
    "login": (1,),
}
UNCONNECTED = {"initialize", "shutdown", "last_error"}


@pytest.mark.parametrize(
    "name",
    [name for kind in ("keyword", "positional", "bare") for name in FUNCTIONS[kind] if name not in UNCONNECTED],
)
def test_without_a_terminal_each_fails_by_its_own_failure_value(name: str) -> None:
    failure = False if name in FUNCTIONS["false_on_failure"] else None
    assert getattr(mt5, name)(*ARGUMENTS.get(name, ())) is failure
    assert mt5.last_error() == NO_CONNECTION


@pytest.mark.parametrize("name", PACKAGE["structs"])
def test_structs_have_the_packages_fields_in_order_and_kind(name: str) -> None:
    kind: type[structs.Struct] = getattr(structs, name)
    struct = kind(kind.row())
    fields = [field.partition(":") for field in PACKAGE["structs"][name].split()]
    assert list(struct._asdict()) == [field for field, _, _ in fields]
    assert struct.n_fields == len(struct) == len(fields)
    assert isinstance(struct, tuple)
    for index, (field, _, mark) in enumerate(fields):
        assert getattr(struct, field) == struct[index]
        assert field == NESTED.get(name) or type(struct[index]) is KINDS[mark], field


def test_structs_are_no_named_tuples_and_cannot_be_pickled() -> None:
    tick = structs.Tick(structs.Tick.row(bid=1.5))
    assert not hasattr(tick, "_fields")
    assert not hasattr(tick, "_replace")
    assert tick.bid == tick[1] == 1.5
    with pytest.raises(AttributeError):
        tick.bid = 2.0  # type: ignore[attr-defined] # what must not be allowed
    with pytest.raises(AttributeError, match="no attribute 'price'"):
        _ = tick.price
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(tick)
