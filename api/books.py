"""The books, read and written: one unit of work per call, a broken connection never seen by the caller."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

T = TypeVar("T")

# What a connection raises that cannot be made, or not in time.
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, PoolTimeout)


class BooksUnavailable(Exception):
    """PostgreSQL cannot be reached now."""


class Books:
    def __init__(self, engine: AsyncEngine) -> None:
        # A single statement needs no transaction around it, and the two round trips that one costs.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run a query of one statement, or of several that need no common snapshot. Raises BooksUnavailable."""
        try:
            return await self._read(query)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise _named(error) from error
        # PostgreSQL restarted since the connection was used last. Reading twice is harmless, and the failure
        # has emptied the pool, so the second time is on a new connection.
        try:
            return await self._read(query)
        except DBAPIError as error:
            raise _named(error) from error

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work` in one transaction. BooksUnavailable: nothing was committed, or its answer was lost."""
        try:
            async with self._engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
                return await work(connection)
        except _AWAY as error:
            raise BooksUnavailable from error
        except DBAPIError as error:
            raise _named(error) from error

    async def _read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with self._engine.connect() as connection:
                return await query(connection)
        except _AWAY as error:
            raise BooksUnavailable from error


def _named(error: DBAPIError) -> Exception:
    away = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return BooksUnavailable() if away else error
