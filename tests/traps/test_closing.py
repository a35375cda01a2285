"""The trap: on a hedging account an opposite order without its position opens a second one instead of closing."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.mt5.adapter import Mt5Broker
from brokers.mt5.constants import Action
from brokers.simulator.account import MarginMode
from domain.money import Lots, Price
from domain.orders import OrderRequest, OrderType, Side, TimeInForce
from stack.chaos.baton import Baton, Process
from stack.chaos.broker_side import ZONE, BrokerSide
from stack.chaos.child import ChildWay, Hooks, Machine
from stack.chaos.clock import VirtualClock

BEGINNING = datetime(2026, 3, 2, 12, tzinfo=UTC)


@settings(max_examples=40)
@given(
    side=st.sampled_from(Side),
    hundredths=st.integers(1, 30),
    named=st.sampled_from(["the open position", "a closed position", "no such position"]),
    time_in_force=st.sampled_from([TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK]),
)
async def test_no_close_leaves_without_its_position_on_a_hedging_account(
    side: Side, hundredths: int, named: str, time_in_force: TimeInForce
) -> None:
    clock = VirtualClock(BEGINNING)
    terminal = BrokerSide(clock, seed=1, margin_mode=MarginMode.HEDGING)
    broker = broker_at(terminal, clock)
    await broker.submit(order(clock, terminal, magic=1, side=side, volume=Decimal("0.10")))
    (held,) = terminal.terminal.books.positions.values()
    if named == "a closed position":
        terminal.terminal.happenings.manual_close(held, held.lots)
    position_id = held.identifier + (named == "no such position") * 17
    before = len(terminal.terminal.books.positions)

    close = order(clock, terminal, magic=2, side=side.opposite, volume=Decimal(hundredths) / 100)
    await broker.submit(replace(close, position_id=position_id, time_in_force=time_in_force))

    requests = [json.loads(request) for _, _, magic, request, _ in terminal.store.sends() if magic == 2]
    assert all(request["position"] for request in requests if request["action"] == Action.DEAL)
    assert len(terminal.terminal.books.positions) <= before
    terminal.close()


def broker_at(terminal: BrokerSide, clock: VirtualClock) -> Mt5Broker:
    way = ChildWay(
        side=terminal,
        machine=Machine(name="here"),
        clock=clock,
        baton=Baton(clock),
        process=Process(name="test"),
        hooks=Hooks(),
        lease_number=1,
    )
    return Mt5Broker(way, server_zone=ZONE, now=clock.now)


def order(clock: VirtualClock, terminal: BrokerSide, *, magic: int, side: Side, volume: Decimal) -> OrderRequest:
    quote = terminal.terminal.market.quote("EURUSD")
    assert quote is not None
    values: dict[str, Any] = {
        "magic": magic,
        "symbol": "EURUSD",
        "side": side,
        "order_type": OrderType.MARKET,
        "volume": Lots(volume),
        "time_in_force": TimeInForce.IOC,
        "reference_price": Price(quote.ask if side is Side.BUY else quote.bid),
        "collar_points": 200,
        "since": clock.now(),
        "submit_by": clock.now() + timedelta(seconds=10),
        "comment": "test",
    }
    absent = ("price", "stop_limit_price", "stop_loss", "take_profit", "expires_at", "position_id")
    return OrderRequest(**dict.fromkeys(absent), **values)
