"""What already happened outside is recorded for as long as it takes, and only for faults that time mends."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.testing import ActivityEnvironment

from activities.units import until_committed
from tests.db.books import Books

_END_OWN_BACKEND = text("SELECT pg_terminate_backend(pg_backend_pid())")
_NOTE = text("INSERT INTO alerts (key, severity, kind, summary) VALUES ('k', 'info', 'test', 'test')")


async def test_a_lost_connection_is_tried_again_until_the_commit(books: Books) -> None:
    tries: list[int] = []

    async def work(connection: AsyncConnection) -> int:
        tries.append(1)
        await connection.execute(_NOTE)
        if len(tries) < 3:
            await connection.execute(_END_OWN_BACKEND)
        return len(tries)

    answer = await ActivityEnvironment().run(until_committed, books.broker, work)

    assert answer == 3
    assert await books.scalar("SELECT count(*) FROM alerts") == 1


async def test_a_broken_rule_is_not_tried_again(books: Books) -> None:
    tries: list[int] = []

    async def work(connection: AsyncConnection) -> None:
        tries.append(1)
        await connection.execute(_NOTE)
        await connection.execute(_NOTE)

    with pytest.raises(IntegrityError):
        await ActivityEnvironment().run(until_committed, books.broker, work)

    assert len(tries) == 1
