"""A cancel or modification is stored once under its key, with its result."""

from dataclasses import replace

import pytest

from db import commands
from domain.commands import Command, CommandEnd, CommandResult
from domain.errors import CommandConflict
from tests.db.books import Books

DONE = CommandResult(outcome=CommandEnd.DONE, reason=None)


async def begin(books: Books, command: Command) -> CommandResult | None:
    async with books.broker.begin() as connection:
        return await commands.begin(connection, command)


@pytest.fixture
async def command(books: Books) -> Command:
    trade = await books.accepted()
    return Command(trade_id=trade.id, key="k1", kind="cancel", body_hash="h", requested_by=books.user_id)


async def test_a_repeat_returns_the_first_result(books: Books, command: Command) -> None:
    assert await begin(books, command) is None
    # Not carried out yet, so a retry goes on with it.
    assert await begin(books, command) is None
    async with books.broker.begin() as connection:
        await commands.finish(connection, command, DONE)
    assert await begin(books, command) == DONE
    assert await books.scalar("SELECT count(*) FROM trade_commands") == 1


async def test_another_command_under_the_key_is_a_conflict(books: Books, command: Command) -> None:
    await begin(books, command)
    for other in (replace(command, body_hash="x"), replace(command, kind="modify")):
        with pytest.raises(CommandConflict, match="k1"):
            await begin(books, other)


async def test_a_key_belongs_to_its_trade(books: Books, command: Command) -> None:
    await begin(books, command)
    other = await books.accepted()
    assert await begin(books, replace(command, trade_id=other.id, body_hash="x")) is None
