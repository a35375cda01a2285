"""Each kind of breach, told from books that show it."""

from decimal import Decimal
from typing import Any

import pytest

from brokers.simulator import constants as mt5
from brokers.simulator.records import Deal, Order
from stack.chaos.verdicts import Fault, judge_deals, judge_positions, judge_trade, truth_of

MAGIC = 7
LOTS = Decimal("0.10")


def order(ticket: int = 1, *, state: int = mt5.ORDER_STATE_FILLED, magic: int = MAGIC, reason: int = 3) -> Order:
    return Order(
        ticket=ticket,
        symbol="EURUSD",
        type=mt5.ORDER_TYPE_BUY,
        state=state,
        lots=LOTS,
        rest=Decimal(0),
        price=Decimal(0),
        setup_msc=0,
        magic=magic,
        reason=reason,
    )


def deal(ticket: int = 11, *, order_ticket: int = 1, lots: Decimal = LOTS, kind: int = mt5.DEAL_TYPE_BUY) -> Deal:
    return Deal(
        ticket=ticket,
        order_ticket=order_ticket,
        symbol="EURUSD",
        type=kind,
        entry=mt5.DEAL_ENTRY_IN,
        position_id=1,
        reason=3,
        time_msc=0,
        magic=MAGIC,
        lots=lots,
        price=Decimal("1.1"),
    )


def trade(state: str, *, filled: Decimal = Decimal(0)) -> dict[str, Any]:
    return {
        "client_order_id": "o-1",
        "state": state,
        "volume": LOTS,
        "filled_volume": filled,
        "reason": None,
        "closed_at": "now",
    }


def found(row: dict[str, Any], orders: list[Order], deals: list[Deal]) -> set[Fault]:
    return {violation.fault for violation in judge_trade(row, truth_of(MAGIC, orders, deals))}


def test_a_filled_trade_whose_order_was_executed_once_is_right() -> None:
    assert found(trade("filled", filled=LOTS), [order()], [deal()]) == set()


def test_two_executed_orders_under_one_magic_are_a_duplicate() -> None:
    orders, deals = [order(1), order(2)], [deal(11), deal(12, order_ticket=2)]
    assert Fault.DUPLICATE in found(trade("filled", filled=LOTS), orders, deals)


def test_more_lots_than_asked_for_are_a_duplicate() -> None:
    assert Fault.DUPLICATE in found(trade("filled", filled=2 * LOTS), [order()], [deal(11), deal(12)])


@pytest.mark.parametrize("state", ["rejected", "denied", "cancelled", "expired"])
def test_an_executed_order_behind_an_empty_end_is_lost(state: str) -> None:
    assert Fault.LOST in found(trade(state), [order()], [deal()])


@pytest.mark.parametrize("state", ["rejected", "denied"])
def test_an_order_that_works_behind_a_final_state_is_lost(state: str) -> None:
    assert Fault.LOST in found(trade(state), [order(state=mt5.ORDER_STATE_PLACED)], [])


def test_a_refusal_of_an_order_that_the_broker_took_and_cancelled_is_a_false_verdict() -> None:
    assert found(trade("rejected"), [order(state=mt5.ORDER_STATE_CANCELED)], []) == {Fault.FALSE_VERDICT}


def test_filled_without_an_execution_is_a_false_verdict() -> None:
    assert Fault.FALSE_VERDICT in found(trade("filled", filled=LOTS), [], [])


@pytest.mark.parametrize("state", ["pending", "working", "partially_filled", "unresolved"])
def test_a_trade_without_an_end_is_undecided(state: str) -> None:
    assert Fault.UNDECIDED in found(trade(state), [], [])


def test_the_brokers_own_exit_under_the_same_magic_is_no_second_order() -> None:
    exit_order = order(2, reason=mt5.ORDER_REASON_SL)
    deals = [deal(11), deal(12, order_ticket=2, kind=mt5.DEAL_TYPE_SELL)]
    assert found(trade("filled", filled=LOTS), [order(), exit_order], deals) == set()


def test_a_deal_without_a_fill_is_unbooked_and_a_fill_without_a_deal_is_booked_wrongly() -> None:
    row = {"ticket": 99}
    assert [violation.fault for violation in judge_deals([deal()], [row])] == [Fault.UNBOOKED, Fault.BOOKED_WRONG]


def test_a_fill_that_says_another_price_than_its_deal_is_booked_wrongly() -> None:
    row = {
        "ticket": 11,
        "volume": LOTS,
        "price": Decimal("1.2"),
        "profit": Decimal(0),
        "commission": Decimal(0),
        "swap": Decimal(0),
        "fee": Decimal(0),
        "broker_order_id": 1,
    }
    assert [violation.fault for violation in judge_deals([deal()], [row])] == [Fault.BOOKED_WRONG]
    assert judge_deals([deal()], [row | {"price": Decimal("1.1")}]) == []


def test_positions_that_differ_are_named() -> None:
    assert judge_positions({1: LOTS}, {1: LOTS}) == []
    assert [violation.fault for violation in judge_positions({1: LOTS}, {})] == [Fault.BOOKED_WRONG]
