"""Positions: closed by their traders, by stops or by hand; their results go to those who opened them."""

from decimal import Decimal
from typing import Any

from brokers.simulator.market import Side as SimulatedSide
from domain.orders import OrderIntent, OrderState
from tests.desk import Desk
from tests.factories import lots, price
from tests.waiting import until
from tests.workflows.asking import sends_of
from tests.workflows.holding import closing, open_position


async def test_a_close_realises_its_result_for_the_opener(desk: Desk) -> None:
    opener, position_id = await open_position(desk)
    desk.control.tick("EURUSD", "1.10210", "1.10220")

    ack = await desk.execute(closing(desk, position_id))

    assert ack.state is OrderState.FILLED
    assert desk.control.books().positions == ()
    lines = await desk.rows("SELECT trade_id, volume, profit FROM fill_allocations WHERE role = 'close'")
    assert lines == [{"trade_id": opener.id, "volume": lots("0.10"), "profit": Decimal("20.00")}]
    stats = await desk.rows("SELECT user_id, profit FROM user_daily_stats")
    assert stats == [{"user_id": desk.user_id, "profit": Decimal("20.00")}]


async def test_a_position_is_closed_in_parts(desk: Desk) -> None:
    _, position_id = await open_position(desk)

    await desk.settled(await closed(desk, position_id, volume=lots("0.04")))
    await desk.settled(await closed(desk, position_id, volume=lots("0.06")))

    assert desk.control.books().positions == ()


async def closed(desk: Desk, position_id: int, **changes: Any) -> OrderIntent:
    intent = closing(desk, position_id, **changes)
    ack = await desk.execute(intent)
    assert ack.state is OrderState.FILLED
    return intent


async def test_a_close_larger_than_its_position_is_denied(desk: Desk) -> None:
    _, position_id = await open_position(desk)
    intent = closing(desk, position_id, volume=lots("0.11"))

    ack = await desk.execute(intent)

    trade = await desk.settled(intent)
    assert (ack.state, trade.progress.reason) == (OrderState.DENIED, "position_volume_exceeded")
    assert sends_of(desk, trade) == []


async def test_a_stop_loss_at_the_broker_is_booked_to_the_opener(desk: Desk) -> None:
    opener, position_id = await open_position(desk, stop_loss=price("1.09800"))

    desk.control.tick("EURUSD", "1.09790", "1.09800")

    async def booked() -> bool:
        return bool(await desk.scalar("SELECT count(*) FROM fills WHERE reason = 'stop_loss'"))

    await until(booked, what="the stop's fill to be booked")
    fills = await desk.rows("SELECT trade_id, position_id, entry FROM fills WHERE reason = 'stop_loss'")
    assert fills == [{"trade_id": None, "position_id": position_id, "entry": "out"}]
    lines = await desk.rows("SELECT trade_id, profit FROM fill_allocations WHERE role = 'close'")
    assert lines == [{"trade_id": opener.id, "profit": Decimal("-22.00")}]
    assert (await desk.trade(opener.intent)).progress.filled_volume == lots("0.10")


async def test_a_trade_by_hand_is_nobodys(desk: Desk) -> None:
    ticket = desk.control.manual_trade("EURUSD", SimulatedSide.BUY, "0.20")
    (position,) = desk.control.books().positions
    desk.control.manual_close(position.ticket)

    async def booked() -> bool:
        return bool(await desk.scalar("SELECT count(*) FROM fills WHERE entry = 'out'"))

    await until(booked, what="the close by hand to be booked")
    owners = await desk.rows(
        "SELECT DISTINCT a.owner, f.trade_id FROM fill_allocations a JOIN fills f ON f.id = a.fill_id"
        " WHERE f.kind = 'trade'"
    )
    assert owners == [{"owner": "external", "trade_id": None}]
    assert await desk.scalar("SELECT count(*) FROM fills WHERE broker_order_id = :id", id=ticket) == 1
    assert await desk.rows("SELECT 1 FROM user_daily_stats") == []


async def test_cash_in_the_books_is_the_brokers_balance(desk: Desk) -> None:
    _, position_id = await open_position(desk)
    desk.control.tick("EURUSD", "1.09900", "1.09915")
    await closed(desk, position_id)
    desk.control.deposit("250.00")

    async def agrees() -> bool:
        cash = await desk.scalar(
            "SELECT sum(e.amount) FROM ledger_entries e JOIN ledger_accounts l ON l.id = e.ledger_account_id"
            " WHERE l.code = 'broker_cash'"
        )
        return bool(cash == desk.control.books().balance)

    await until(agrees, what="the books to hold the broker's balance")
