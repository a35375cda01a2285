"""The trap: the broker fills an order that we hold for ended, and the fill falls on nobody."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from activities.trades import DecideTrade
from db import booking, trades
from db.trades import Trade, lose
from domain.commands import Command
from domain.orders import BrokerOrderState, OrderEvent, OrderState
from tests.db.books import Books
from tests.factories import lots, make_fill, make_order

Ending = Callable[[Books, Trade], Awaitable[None]]


async def by_order(books: Books, trade: Trade, state: BrokerOrderState) -> None:
    """As the broker showed it."""
    async with books.broker.begin() as connection:
        locked = await trades.lock(connection, trade.id)
        locked = await trades.advance(connection, locked, OrderEvent.PLACED, actor="test")
        order = make_order(magic=trade.progress.magic, state=state)
        await booking.apply_order(connection, locked, order, actor="test")


async def cancelled(books: Books, trade: Trade) -> None:
    await by_order(books, trade, BrokerOrderState.CANCELLED)


async def expired(books: Books, trade: Trade) -> None:
    await by_order(books, trade, BrokerOrderState.EXPIRED)


async def rejected(books: Books, trade: Trade) -> None:
    async with books.broker.begin() as connection:
        locked = await trades.lock(connection, trade.id)
        await trades.advance(connection, locked, OrderEvent.REJECTED, actor="test", changes={"reason": "absent"})


async def denied(books: Books, trade: Trade) -> None:
    async with books.broker.begin() as connection:
        locked = await trades.lock(connection, trade.id)
        denial = {"gate": "submit", "code": "test", "message": "not sent"}
        await trades.advance(connection, locked, OrderEvent.DENIED, actor="test", changes={"denials": [denial]})


async def decided_absent(books: Books, trade: Trade) -> None:
    """A person said that the broker has no such order."""
    async with books.broker.begin() as connection:
        await lose(connection, await trades.lock(connection, trade.id), "no_answer", actor="test")
    word = Command(trade_id=trade.id, key="w", kind="resolve", body_hash="-", requested_by=books.user_id)
    await books.steps().decide(DecideTrade(command=word, broker_order_id=None, reason="not in the terminal"))


@pytest.mark.parametrize("end", [cancelled, expired, rejected, denied, decided_absent])
async def test_a_fill_after_the_end_is_booked_alerted_and_moves_the_trade(books: Books, end: Ending) -> None:
    trade = await books.reserved()
    await end(books, trade)
    ended = await books.trade(trade.id)
    assert ended.progress.final
    await books.settle(ended)

    (moved,) = await books.book(make_fill(magic=trade.progress.magic))

    assert (moved.state, moved.progress.filled_volume) == (OrderState.FILLED, trade.intent.volume)
    assert moved.progress.needs_attention
    (alert,) = await books.rows("SELECT severity, trade_id FROM alerts WHERE kind = 'late_fill'")
    assert alert == {"severity": "critical", "trade_id": trade.id}
    await books.check_sums()


@pytest.mark.parametrize("end", [cancelled, expired, rejected, denied, decided_absent])
async def test_a_part_that_fills_after_the_end_is_kept(books: Books, end: Ending) -> None:
    trade = await books.reserved()
    await end(books, trade)

    (moved,) = await books.book(make_fill(magic=trade.progress.magic, volume=lots("0.04")))

    assert moved.progress.final
    assert moved.state not in {OrderState.REJECTED, OrderState.DENIED, OrderState.FILLED}
    assert moved.progress.filled_volume == lots("0.04")
    await books.check_sums()


async def test_a_fill_beyond_a_filled_trade_is_booked_and_alerted(books: Books) -> None:
    trade = await books.reserved()
    await books.book(make_fill(magic=trade.progress.magic))

    (moved,) = await books.book(make_fill(magic=trade.progress.magic, ticket=9005, volume=lots("0.01")))

    assert (moved.state, moved.progress.filled_volume) == (OrderState.FILLED, lots("0.11"))
    assert await owner_of(books, 9005) == trade.id
    assert await books.rows("SELECT 1 AS raised FROM alerts WHERE kind = 'late_fill'") == [{"raised": 1}]


async def owner_of(books: Books, ticket: int) -> UUID:
    (row,) = await books.rows("SELECT trade_id FROM fills WHERE ticket = :ticket", ticket=ticket)
    owner: UUID = row["trade_id"]
    return owner
