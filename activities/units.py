"""Units of work that must end in a commit, because what they record has already happened outside."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio import activity

T = TypeVar("T")

_PAUSE_SECONDS = 0.2


async def until_committed(engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Run `work` in a transaction until it commits, through any outage of the database.

    Bounded by the activity's own timeout, which cancels it. `work` may run again after a commit whose answer
    was lost, so it must find its own traces.
    """
    while True:
        try:
            async with engine.begin() as connection:
                return await work(connection)
        except (DBAPIError, OSError, PoolTimeout) as error:
            if isinstance(error, DBAPIError) and not passing(error):
                raise
            activity.logger.warning("the database is away, trying again: %s", error)
            await asyncio.sleep(_PAUSE_SECONDS)


def passing(error: DBAPIError) -> bool:
    """Whether time mends it: a lost connection, a shutdown, a deadlock, a lock not had in time."""
    if error.connection_invalidated:
        return True
    state = str(getattr(error.orig, "sqlstate", "") or "")
    return state[:2] in {"08", "40", "53", "57"} or state == "55P03" or not state
