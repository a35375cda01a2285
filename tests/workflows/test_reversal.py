"""A reversal: two orders, the second only behind a first that filled in full, and neither ever twice."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from brokers.simulator.faults import Partial, Placed, Reject
from db.limits import NewLimit, set_limit
from db.trades import Trade
from domain.errors import TradeNotFound
from domain.limits import LimitName, LimitUnit
from domain.orders import OrderIntent, OrderState, TimeInForce
from domain.positions import MarginMode
from stack.scratch import Database
from tests.desk import Desk, open_desk
from tests.factories import lots
from tests.waiting import until
from tests.workflows.asking import broken_laws
from tests.workflows.holding import open_position
from tests.workflows.reversing import pair, reverse
from workflows.reversal_messages import ReversalAck


@pytest.fixture
async def netting_desk(database: Database, temporal_client: Client, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(database, temporal_client, tmp_path, margin_mode=MarginMode.NETTING) as desk:
        yield desk


async def was_never_accepted(desk: Desk, intent: OrderIntent) -> bool:
    try:
        await desk.trade(intent)
    except TradeNotFound:
        return True
    return False


async def ended(desk: Desk, intent: OrderIntent) -> Trade:
    """The trade once it is settled; the reversal ends when it is started, which is before it is accepted."""

    async def accepted() -> bool:
        return not await was_never_accepted(desk, intent)

    await until(accepted, what="the trade to be accepted")
    return await desk.settled(intent)


async def check_reversed(desk: Desk) -> None:
    bought, _ = await open_position(desk)
    close, opening = pair(desk, bought)

    first, again = await reverse(desk, close, opening), await reverse(desk, close, opening)

    assert first == again == ReversalAck(refusal=None)
    closed, opened = await desk.settled(close), await ended(desk, opening)
    assert (closed.state, opened.state) == (OrderState.FILLED, OrderState.FILLED)
    (position,) = desk.control.books().positions
    assert (position.side.name, position.lots) == ("SELL", lots("0.10"))
    assert len(desk.control.books().sends) == 3
    lines = await desk.rows("SELECT trade_id, volume FROM fill_allocations WHERE role = 'close'")
    assert lines == [{"trade_id": bought.id, "volume": lots("0.10")}]
    assert await broken_laws(desk) == []


async def test_it_closes_and_then_opens_the_other_side_once(desk: Desk) -> None:
    await check_reversed(desk)


async def test_on_a_netting_account_it_is_two_orders_as_well(netting_desk: Desk) -> None:
    await check_reversed(netting_desk)
    assert await netting_desk.scalar("SELECT count(*) FROM fills WHERE entry = 'inout'") == 0


async def test_the_closed_position_does_not_count_beside_the_one_that_is_opened(desk: Desk) -> None:
    bought, _ = await open_position(desk)
    room_for_one = NewLimit(
        name=LimitName.POSITION_SIZE,
        account_id=desk.account_id,
        user_id=None,
        value=Decimal(15_000),
        unit=LimitUnit.MONEY,
        currency="USD",
        reason="test",
    )
    async with desk.engine.begin() as connection:
        await set_limit(connection, room_for_one, actor="test")
    close, opening = pair(desk, bought)

    assert (await reverse(desk, close, opening)).refusal is None

    assert (await ended(desk, opening)).state is OrderState.FILLED


@pytest.mark.parametrize(
    ("fault", "state"),
    [(Partial(fraction=Decimal("0.5")), OrderState.CANCELLED), (Reject(retcode=10006), OrderState.REJECTED)],
    ids=["filled in part", "rejected"],
)
async def test_nothing_is_opened_behind_a_close_that_did_not_fill_in_full(
    desk: Desk, fault: Any, state: OrderState
) -> None:
    bought, _ = await open_position(desk)
    desk.control.script("EURUSD", [fault])
    close, opening = pair(desk, bought, time_in_force=TimeInForce.IOC)

    ack = await reverse(desk, close, opening)

    assert ack == ReversalAck(refusal=f"close_{state}")
    assert (await desk.settled(close)).state is state
    assert await was_never_accepted(desk, opening)
    assert {position.side.name for position in desk.control.books().positions} == {"BUY"}


async def test_nothing_is_opened_behind_a_close_that_fills_after_the_deadline(desk: Desk) -> None:
    bought, _ = await open_position(desk)
    desk.control.script("EURUSD", [Placed(after_ms=2500, fraction=Decimal(1))])
    close, opening = pair(desk, bought)
    soon = close.received_at + timedelta(seconds=1.5)

    ack = await reverse(desk, replace(close, submit_by=soon), replace(opening, submit_by=soon))

    assert ack == ReversalAck(refusal="deadline_passed")
    assert (await desk.settled(close)).state is OrderState.FILLED
    assert await was_never_accepted(desk, opening)
