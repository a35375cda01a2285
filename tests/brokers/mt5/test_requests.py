from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.mt5.clock import ServerClock
from brokers.mt5.constants import FillingMode, OrderKind, OrderTime
from brokers.mt5.requests import (
    COMMENT_MAX,
    comment_of,
    expiry_change,
    filling_wanted,
    level_changes,
    order_kind,
    order_request,
)
from domain.money import Lots, Price
from domain.orders import Changes, OrderRequest, OrderType, Side, TimeInForce

CLOCK = ServerClock(ZoneInfo("Europe/Athens"))
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
INTEGERS = {"action", "magic", "type", "type_time", "expiration"}
FLOATS = {"volume", "price", "stoplimit", "sl", "tp"}
TEXTS = {"symbol", "comment"}


def order(**fields: Any) -> OrderRequest:
    given: dict[str, Any] = {
        "magic": 2**40,
        "symbol": "EURUSD",
        "side": Side.BUY,
        "order_type": OrderType.MARKET,
        "volume": Lots(Decimal(1)),
        "time_in_force": TimeInForce.GTC,
        "price": None,
        "stop_limit_price": None,
        "stop_loss": None,
        "take_profit": None,
        "expires_at": None,
        "position_id": None,
        "reference_price": Price(Decimal("1.1")),
        "collar_points": 10,
        "since": NOON,
        "submit_by": NOON,
        "comment": "a hint",
    }
    return OrderRequest(**(given | fields))


def test_a_market_order_leaves_price_and_filling_to_the_live_market() -> None:
    assert order_request(order(stop_loss=Price(Decimal("1.05"))), clock=CLOCK) == {
        "action": 1,
        "symbol": "EURUSD",
        "volume": 1.0,
        "type": 0,
        "type_time": 0,
        "magic": 2**40,
        "comment": "ahint",
        "sl": 1.05,
    }


def test_a_stop_limit_order_carries_both_prices_and_its_expiry_on_the_servers_clock() -> None:
    request = order_request(
        order(
            side=Side.SELL,
            order_type=OrderType.STOP_LIMIT,
            price=Price(Decimal("1.09")),
            stop_limit_price=Price(Decimal("1.092")),
            time_in_force=TimeInForce.GTD,
            expires_at=NOON,
        ),
        clock=CLOCK,
    )
    assert request["action"] == 5
    assert request["type"] == OrderKind.SELL_STOP_LIMIT
    assert (request["price"], request["stoplimit"]) == (1.09, 1.092)
    assert (request["type_time"], request["expiration"]) == (OrderTime.SPECIFIED, NOON.timestamp() + 7200)


@pytest.mark.parametrize("order_type", list(OrderType))
@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("time_in_force", list(TimeInForce))
def test_every_field_has_exactly_the_type_that_the_parser_takes(
    order_type: OrderType, side: Side, time_in_force: TimeInForce
) -> None:
    request = order_request(
        order(
            order_type=order_type,
            side=side,
            time_in_force=time_in_force,
            expires_at=NOON,
            price=Price(Decimal(1)),
            stop_limit_price=Price(Decimal(1)),
            take_profit=Price(Decimal(2)),
        ),
        clock=CLOCK,
    )
    for name, value in request.items():
        expected = int if name in INTEGERS else float if name in FLOATS else str
        assert type(value) is expected, name
    assert set(request) <= INTEGERS | FLOATS | TEXTS
    assert order_kind(order_type, side) % 2 == (side is Side.SELL)


@given(st.text())
def test_a_comment_is_short_and_harmless(text: str) -> None:
    comment = comment_of(text)
    assert len(comment) <= COMMENT_MAX
    assert all(c.isascii() and (c.isalnum() or c in "_-") for c in comment)


def test_only_ioc_and_fok_demand_a_filling_mode() -> None:
    wanted = {time_in_force: filling_wanted(time_in_force) for time_in_force in TimeInForce}
    assert {name: mode for name, mode in wanted.items() if mode is not None} == {
        TimeInForce.IOC: FillingMode.IOC,
        TimeInForce.FOK: FillingMode.FOK,
    }


def test_a_level_that_is_not_named_stays_and_zero_removes_one() -> None:
    assert level_changes(Changes(stop_loss=Price(Decimal(0)), price=Price(Decimal("1.2")))) == {
        "sl": 0.0,
        "price": 1.2,
    }
    assert expiry_change(None, clock=CLOCK) == {}
    assert expiry_change(NOON, clock=CLOCK) == {"type_time": 2, "expiration": int(NOON.timestamp()) + 7200}
