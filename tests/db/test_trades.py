"""The trade ledger: one row per intent for ever, moved only along the table."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from db import trades
from domain.errors import IllegalTransition, TradeNotFound
from domain.orders import OrderEvent, OrderState
from tests.db.books import Books
from tests.factories import TRADE_ID, lots


async def test_accepting_again_returns_the_first_trade(books: Books) -> None:
    intent = books.intent()
    async with books.database.engine("pipeline").begin() as connection:
        first = await trades.accept(connection, intent, workflow_id="w")
        again = await trades.accept(connection, intent, workflow_id="w")

    assert first == again
    assert (first.state, first.intent) == (OrderState.PENDING, intent)
    accepted = await books.rows("SELECT 1 FROM audit_log WHERE action = 'trade.accepted'")
    assert len(accepted) == 1


async def test_another_body_under_the_same_id_changes_nothing(books: Books) -> None:
    first = await books.accepted()
    other = replace(first.intent, body_hash="another", volume=lots("0.20"))

    async with books.database.engine("pipeline").begin() as connection:
        answer = await trades.accept(connection, other, workflow_id="w2")

    assert answer == first
    assert await books.trade(first.id) == first


async def test_many_at_once_accept_one_trade_with_one_magic(books: Books) -> None:
    intent = books.intent()

    async def accept() -> trades.Trade:
        async with books.database.engine("pipeline").begin() as connection:
            return await trades.accept(connection, intent, workflow_id="w")

    accepted = await asyncio.gather(*(accept() for _ in range(20)))

    assert len(set(map(repr, accepted))) == 1
    assert await books.scalar("SELECT count(*) FROM trade_ledger") == 1


async def test_two_trades_never_share_a_magic(books: Books) -> None:
    magics = [(await books.accepted()).progress.magic for _ in range(3)]
    assert len(set(magics)) == 3


async def test_a_move_is_recorded_in_the_transaction_that_makes_it(books: Books) -> None:
    trade = await books.accepted()

    async with books.database.engine("pipeline").connect() as connection:
        await trades.advance(connection, trade, OrderEvent.DENIED, actor="test")
        await connection.rollback()
    assert (await books.trade(trade.id)).state is OrderState.PENDING
    assert await books.rows("SELECT 1 FROM audit_log WHERE action = 'trade.denied'") == []

    async with books.database.engine("pipeline").begin() as connection:
        await trades.advance(connection, trade, OrderEvent.DENIED, actor="test")
    audited = await books.rows("SELECT xact, detail FROM audit_log WHERE action = 'trade.denied'")
    streamed = await books.rows("SELECT xact, payload AS detail FROM events WHERE kind = 'trade.denied'")
    assert audited == streamed
    assert audited[0]["detail"]["from"] == "pending"


async def test_a_move_outside_the_table_is_refused_by_the_code(books: Books) -> None:
    trade = await books.accepted()
    async with books.database.engine("pipeline").begin() as connection:
        denied = await trades.advance(connection, trade, OrderEvent.DENIED, actor="test")
        with pytest.raises(IllegalTransition):
            await trades.advance(connection, denied, OrderEvent.PLACED, actor="test")


@pytest.mark.parametrize("role", ["pipeline", "broker", "owner"])
async def test_a_move_outside_the_table_is_refused_by_the_database(books: Books, role: str) -> None:
    trade = await books.accepted()
    await books.run("UPDATE trade_ledger SET state = 'denied' WHERE id = :id", id=trade.id)

    with pytest.raises(IntegrityError, match="denied cannot become working"):
        await books.run("UPDATE trade_ledger SET state = 'working' WHERE id = :id", role=role, id=trade.id)


@pytest.mark.parametrize(
    "change", ["volume = volume * 2", "magic = magic + 1", "body_hash = 'x'", "side = 'sell'"]
)
async def test_an_intent_does_not_change(books: Books, change: str) -> None:
    trade = await books.accepted()
    with pytest.raises(IntegrityError, match="does not change"):
        await books.run(f"UPDATE trade_ledger SET {change} WHERE id = :id", role="pipeline", id=trade.id)


async def test_no_role_of_a_service_can_delete_a_trade(books: Books) -> None:
    await books.accepted()
    for role in ("api", "pipeline", "broker", "sealer"):
        with pytest.raises(Exception, match="permission denied"):
            await books.run("DELETE FROM trade_ledger", role=role)


async def test_a_lost_outcome_asks_for_a_person_once(books: Books) -> None:
    trade = await books.accepted()
    async with books.database.engine("pipeline").begin() as connection:
        lost = await trades.lose(connection, trade, "timeout", actor="test")
        again = await trades.lose(connection, lost, "timeout", actor="test")

    assert (again.state, again.progress.needs_attention) == (OrderState.UNRESOLVED, True)
    assert [row["kind"] for row in await books.rows("SELECT kind FROM alerts")] == ["unresolved"]


async def test_a_trade_is_closed_once_and_only_when_final(books: Books) -> None:
    trade = await books.accepted()
    async with books.database.engine("pipeline").begin() as connection:
        with pytest.raises(AssertionError, match="only a final trade"):
            await trades.close(connection, trade, actor="test")
        denied = await trades.advance(connection, trade, OrderEvent.DENIED, actor="test")
        closed = await trades.close(connection, denied, actor="test")
        assert await trades.close(connection, closed, actor="test") == closed


async def test_a_trade_that_is_not_there_is_named(books: Books) -> None:
    with pytest.raises(TradeNotFound, match=str(TRADE_ID)):
        await books.trade(TRADE_ID)
