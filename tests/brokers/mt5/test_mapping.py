from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from brokers.mt5 import mapping
from brokers.mt5.clock import ServerClock
from brokers.mt5.constants import OrderKind, OrderStatus
from brokers.simulator import constants as package
from domain.fills import Entry, FillKind, FillReason
from domain.instruments import Filling
from domain.orders import BrokerOrderState, OrderType, Side
from domain.positions import MarginMode

CLOCK = ServerClock(ZoneInfo("Europe/Athens"))
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
WALL = int(NOON.timestamp() + 7200) * 1000


def order(**fields: Any) -> dict[str, Any]:
    given = {
        "ticket": 2**33,
        "time_setup_msc": WALL,
        "time_done_msc": 0,
        "type": 2,
        "state": 1,
        "magic": 9,
        "position_id": 0,
        "reason": 3,
        "volume_initial": 0.3,
        "volume_current": 0.1,
        "price_open": 1.1,
        "sl": 0.0,
        "tp": 1.2,
        "symbol": "EURUSD",
    }
    return given | fields


def deal(**fields: Any) -> dict[str, Any]:
    given = {
        "ticket": 1,
        "order": 2,
        "time_msc": WALL,
        "type": 0,
        "entry": 0,
        "magic": 9,
        "position_id": 3,
        "reason": 3,
        "volume": 0.1,
        "price": 1.1,
        "commission": -0.35,
        "swap": 0.0,
        "profit": 0.0,
        "fee": 0.0,
        "symbol": "EURUSD",
        "comment": "",
    }
    return given | fields


def test_an_order_becomes_exact_and_its_times_utc() -> None:
    mapped = mapping.broker_order(order(), clock=CLOCK)
    assert (mapped.volume, mapped.remaining, mapped.price) == (Decimal("0.3"), Decimal("0.1"), Decimal("1.1"))
    assert (mapped.stop_loss, mapped.take_profit, mapped.position_id) == (None, Decimal("1.2"), None)
    assert (mapped.placed_at, mapped.done_at) == (NOON, None)


@pytest.mark.parametrize("kind", [kind for kind in OrderKind if kind is not OrderKind.CLOSE_BY])
def test_an_orders_side_is_in_its_type(kind: OrderKind) -> None:
    side = Side.BUY if kind.name.startswith("BUY") else Side.SELL
    assert mapping.broker_order(order(type=int(kind)), clock=CLOCK).side is side


def test_every_state_of_an_order_is_known_and_only_four_are_final() -> None:
    states = {s: mapping.broker_order(order(state=int(s)), clock=CLOCK).state for s in OrderStatus}
    assert {s for s, state in states.items() if state is not BrokerOrderState.WORKING} == {
        OrderStatus.CANCELED,
        OrderStatus.FILLED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
    }


def test_orders_that_nobody_sent_are_no_evidence_of_a_send() -> None:
    ours, stop = order(), order(reason=4)
    assert [o.broker_order_id for o in mapping.sent_orders([ours, stop], clock=CLOCK)] == [2**33]
    assert len(mapping.broker_orders([ours, stop], clock=CLOCK)) == 2


def test_a_close_by_another_position_has_no_side_and_is_evidence_of_its_send() -> None:
    (close_by,) = mapping.sent_orders([order(type=8)], clock=CLOCK)
    assert (close_by.side, close_by.broker_order_id) == (None, 2**33)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("DEAL_TYPE_BUY", FillKind.TRADE),
        ("DEAL_TYPE_SELL", FillKind.TRADE),
        ("DEAL_TYPE_BALANCE", FillKind.BALANCE),
        ("DEAL_TYPE_CREDIT", FillKind.CREDIT),
        ("DEAL_TYPE_CHARGE", FillKind.CHARGE),
        ("DEAL_TYPE_CORRECTION", FillKind.CORRECTION),
        ("DEAL_TYPE_BONUS", FillKind.BONUS),
        ("DEAL_TYPE_COMMISSION", FillKind.COMMISSION),
        ("DEAL_TYPE_COMMISSION_DAILY", FillKind.COMMISSION),
        ("DEAL_TYPE_COMMISSION_MONTHLY", FillKind.COMMISSION),
        ("DEAL_TYPE_COMMISSION_AGENT_DAILY", FillKind.COMMISSION),
        ("DEAL_TYPE_COMMISSION_AGENT_MONTHLY", FillKind.COMMISSION),
        ("DEAL_TYPE_INTEREST", FillKind.INTEREST),
        ("DEAL_TYPE_BUY_CANCELED", FillKind.CANCELLED),
        ("DEAL_TYPE_SELL_CANCELED", FillKind.CANCELLED),
        ("DEAL_DIVIDEND", FillKind.DIVIDEND),
        ("DEAL_DIVIDEND_FRANKED", FillKind.DIVIDEND),
        ("DEAL_TAX", FillKind.TAX),
    ],
)
def test_every_type_of_deal_has_its_kind(name: str, kind: FillKind) -> None:
    mapped = mapping.fill(deal(type=getattr(package, name)), clock=CLOCK)
    assert mapped.kind is kind
    assert (mapped.side != "") is (kind is FillKind.TRADE)
    assert (mapped.entry is not Entry.NONE) is (kind is FillKind.TRADE)


def test_a_deal_of_a_type_to_come_is_money_of_an_unknown_kind() -> None:
    assert mapping.fill(deal(type=99, profit=-1.5), clock=CLOCK).kind is FillKind.OTHER


@pytest.mark.parametrize(("number", "entry"), [(0, Entry.IN), (1, Entry.OUT), (2, Entry.INOUT), (3, Entry.OUT_BY)])
def test_every_entry_is_known(number: int, entry: Entry) -> None:
    assert mapping.fill(deal(entry=number), clock=CLOCK).entry is entry


def test_the_reason_tells_the_brokers_exits_from_ours() -> None:
    reasons = [mapping.fill(deal(reason=number), clock=CLOCK).reason for number in range(10)]
    assert reasons[3:8] == [
        FillReason.EXPERT,
        FillReason.STOP_LOSS,
        FillReason.TAKE_PROFIT,
        FillReason.STOP_OUT,
        FillReason.ROLLOVER,
    ]
    assert set(reasons[:3]) == {FillReason.CLIENT}
    assert set(reasons[8:]) == {FillReason.OTHER}


def test_one_deal_has_one_content_hash_whatever_noise_its_floats_carry() -> None:
    clean = mapping.fill(deal(profit=0.3, volume=100.0, swap=0.0), clock=CLOCK)
    noisy = mapping.fill(deal(profit=0.1 + 0.2, volume=100, swap=-0.0), clock=CLOCK)
    assert clean.content_hash == noisy.content_hash


def test_the_margin_modes_are_the_packages() -> None:
    assert {int(number): mode for number, mode in mapping.MARGIN_MODES.items()} == {
        package.ACCOUNT_MARGIN_MODE_RETAIL_NETTING: MarginMode.NETTING,
        package.ACCOUNT_MARGIN_MODE_EXCHANGE: MarginMode.EXCHANGE,
        package.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING: MarginMode.HEDGING,
    }


def test_a_tick_without_prices_is_no_quote() -> None:
    tick = {"bid": 0.0, "ask": 1.1, "time_msc": WALL}
    assert mapping.quote("EURUSD", tick, clock=CLOCK, read_at=NOON) is None
    quoted = mapping.quote("EURUSD", tick | {"bid": 1.0}, clock=CLOCK, read_at=NOON)
    assert quoted is not None
    assert (quoted.bid, quoted.ask, quoted.at) == (Decimal(1), Decimal("1.1"), NOON)


def test_bits_become_what_an_order_may_ask_for() -> None:
    assert mapping.fillings({"trade_exemode": 2, "filling_mode": 6}) == (Filling.IOC,)
    assert mapping.fillings({"trade_exemode": 3, "filling_mode": 1}) == (Filling.FOK, Filling.RETURN)
    assert len(mapping.fillings({"trade_exemode": 1, "filling_mode": 0})) == 3
    assert mapping.order_types(127) == tuple(OrderType)
    assert mapping.order_types(3) == (OrderType.MARKET, OrderType.LIMIT)
