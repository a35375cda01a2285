"""The books as one process sees them: each transaction a turn of its own, on virtual time, and sometimes away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stack.chaos.baton import Baton
from stack.chaos.clock import VirtualClock

_SET_CLOCK = text("SELECT set_config('chaos.now', :now, true)")


class Outage(StrEnum):
    """How a transaction fails: before anything is done, or after its commit, whose answer is lost."""

    BEFORE = "before"
    AFTER = "after"


class ServerGone(Exception):
    """What a driver says of a lost connection; a connection failure by its SQLSTATE."""

    sqlstate = "08006"


class Books:
    """Stands in for an engine; `fail_next` is the fate of the transactions to come, oldest first."""

    def __init__(self, engine: AsyncEngine, baton: Baton, clock: VirtualClock) -> None:
        self._engine = engine
        self._baton = baton
        self._clock = clock
        self.fail_next: list[Outage] = []

    @property
    def engine(self) -> AsyncEngine:
        """Everything that the activities ask of an engine is here."""
        return cast("AsyncEngine", self)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        await self._baton.point("before a transaction")
        outage = self.fail_next.pop(0) if self.fail_next else None
        if outage is Outage.BEFORE:
            raise ConnectionRefusedError("the database is away")
        async with self._engine.begin() as connection:
            await self._set_clock(connection)
            yield connection
        if outage is Outage.AFTER:
            raise DBAPIError("COMMIT", {}, ServerGone("the connection was lost"), connection_invalidated=True)
        await self._baton.point("after a transaction")

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        await self._baton.point("before a read")
        if self.fail_next:
            self.fail_next.pop(0)
            raise ConnectionRefusedError("the database is away")
        async with self._engine.connect() as connection:
            await self._set_clock(connection)
            yield connection

    async def dispose(self) -> None:
        """The engine belongs to all processes of the run."""

    async def _set_clock(self, connection: AsyncConnection) -> Any:
        await connection.execute(_SET_CLOCK, {"now": self._clock.now().isoformat()})
