"""A person may end what nobody could find out, once, and the books keep who did and why."""

from uuid import UUID

import pytest

from activities.trades import DecideTrade
from db.trades import Trade, lose
from domain.commands import Command
from domain.errors import CommandConflict, NotUnresolved
from domain.orders import OrderState
from tests.db.books import Books
from tests.factories import make_fill


async def unresolved(books: Books) -> Trade:
    trade = await books.reserved()
    async with books.database.engine("pipeline").begin() as connection:
        return await lose(connection, trade, "timeout", actor="test")


def decision(trade_id: UUID, books: Books, *, broker_order_id: int | None) -> DecideTrade:
    command = Command(
        trade_id=trade_id, key="k", kind="resolve", body_hash=str(broker_order_id), requested_by=books.user_id
    )
    return DecideTrade(command=command, broker_order_id=broker_order_id, reason="the broker said so on the phone")


async def test_an_order_that_the_broker_has_is_followed_from_then_on(books: Books) -> None:
    trade = await unresolved(books)

    decided = await books.steps().decide(decision(trade.id, books, broker_order_id=7001))
    assert (decided.state, decided.broker_order_id, decided.needs_attention) == (OrderState.WORKING, 7001, False)

    await books.book(make_fill(magic=trade.progress.magic))
    assert (await books.trade(trade.id)).state is OrderState.FILLED


async def test_an_order_that_never_was_is_rejected_and_a_fill_of_it_is_late(books: Books) -> None:
    trade = await unresolved(books)

    decided = await books.steps().decide(decision(trade.id, books, broker_order_id=None))
    assert (decided.state, decided.reason) == (OrderState.REJECTED, "decided_absent")

    await books.book(make_fill(magic=trade.progress.magic))
    assert (await books.trade(trade.id)).state is OrderState.FILLED
    assert "late_fill" in {row["kind"] for row in await books.rows("SELECT kind FROM alerts")}


async def test_a_decision_is_made_once_under_its_key(books: Books) -> None:
    trade = await unresolved(books)
    step = decision(trade.id, books, broker_order_id=7001)

    first, again = await books.steps().decide(step), await books.steps().decide(step)

    assert first == again
    audited = await books.rows("SELECT actor, detail FROM audit_log WHERE action = 'trade.placed'")
    assert [row["actor"] for row in audited] == [f"user:{books.user_id}"]
    assert audited[0]["detail"]["reason"] == step.reason
    with pytest.raises(CommandConflict):
        await books.steps().decide(decision(trade.id, books, broker_order_id=None))


async def test_only_an_unresolved_trade_is_decided(books: Books) -> None:
    trade = await books.reserved()
    step = decision(trade.id, books, broker_order_id=None)
    with pytest.raises(NotUnresolved, match="pending"):
        await books.steps().decide(step)
    # A refusal leaves no trace, so the key is free for when it may be decided.
    async with books.database.engine("pipeline").begin() as connection:
        await lose(connection, trade, "timeout", actor="test")
    assert (await books.steps().decide(step)).state is OrderState.REJECTED
