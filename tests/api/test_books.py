"""A change of the books is one transaction, and what stands in its way for a moment is the caller's to repeat."""

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from api.books import Books, BooksUnavailable
from stack.scratch import Database

_SET = text("UPDATE trading_control SET reason = :reason WHERE scope = 'all'")


async def reason(database: Database) -> str:
    async with database.engine("owner").connect() as connection:
        return await connection.scalar(text("SELECT reason FROM trading_control WHERE scope = 'all'"))


async def test_a_change_that_fails_leaves_nothing(database: Database) -> None:
    async def half(connection: AsyncConnection) -> None:
        await connection.execute(_SET, {"reason": "half"})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Books(database.engine("owner")).change(half)
    assert await reason(database) == "initial state"


async def test_a_change_is_made_on_a_new_connection_after_one_that_broke(database: Database) -> None:
    books = Books(database.engine("owner"))

    async def change(connection: AsyncConnection) -> None:
        await connection.execute(_SET, {"reason": "changed"})

    await books.read(lambda connection: connection.scalar(text("SELECT 1")))
    administrator = await asyncpg.connect(database.admin_url)
    ended = await administrator.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = $1 AND pid <> pg_backend_pid()",
        database.name,
    )
    await administrator.close()
    assert ended > 0
    await books.change(change)
    assert await reason(database) == "changed"


async def test_a_lock_that_does_not_come_free_in_time_is_asked_for_again_by_the_caller(database: Database) -> None:
    async def change(connection: AsyncConnection) -> None:
        await connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
        await connection.execute(_SET, {"reason": "too late"})

    async with database.engine("owner").begin() as holder:
        await holder.execute(text("SELECT 1 FROM trading_control FOR UPDATE"))
        with pytest.raises(BooksUnavailable):
            await Books(database.engine("owner")).change(change)
    assert await reason(database) == "initial state"
