"""Reading and changing the books: one unit of work per call, a broken connection never seen by the caller."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

T = TypeVar("T")

# What a connection raises that cannot be made, or not in time.
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, PoolTimeout)

# A lock that was not free in time: nothing was changed, and a repeat may find it free.
_LOCK_NOT_AVAILABLE = "55P03"


class BooksUnavailable(Exception):
    """PostgreSQL cannot be reached now."""


class Books:
    def __init__(self, engine: AsyncEngine) -> None:
        # A single statement needs no transaction around it, and the two round trips that one costs.
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writing = engine

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run a query of one statement, or of several that need no common snapshot. Raises BooksUnavailable."""
        return await _twice(partial(self._read, query))

    async def change(self, unit: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run a unit of work in one transaction; an exception undoes it. Raises BooksUnavailable.

        It may run twice, and the first time may have been committed: a repeat must change nothing.
        """
        return await _twice(partial(self._change, unit))

    async def _read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._reading.connect() as connection:
            return await query(connection)

    async def _change(self, unit: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._writing.begin() as connection:
            return await unit(connection)


async def _twice(run: Callable[[], Awaitable[T]]) -> T:
    try:
        return await _reached(run)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise _named(error) from error
    # PostgreSQL restarted since the connection was used last. The failure has emptied the pool, so the second time
    # is on a new connection.
    try:
        return await _reached(run)
    except DBAPIError as error:
        raise _named(error) from error


async def _reached(run: Callable[[], Awaitable[T]]) -> T:
    try:
        return await run()
    except _AWAY as error:
        raise BooksUnavailable from error


def _named(error: DBAPIError) -> Exception:
    away = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    waited = getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE
    return BooksUnavailable() if away or waited else error
