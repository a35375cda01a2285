"""A copy of a test's database, and its return in place of the database under programs that run.

Their connections break, as they do when a person restores a backup; only the test's own are made anew.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

from db.bootstrap import clone_database
from stack.scratch import Database

_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The database as it was; everything since is lost once it is put back."""

    database: Database
    name: str

    async def put_back(self) -> None:
        async with administering(self.database) as admin:
            await admin.execute(f'DROP DATABASE "{self.database.name}" WITH (FORCE)')
            await admin.execute(f'ALTER DATABASE "{self.name}" RENAME TO "{self.database.name}"')
        await self.database.engine("owner").dispose()


@asynccontextmanager
async def copied(database: Database) -> AsyncIterator[Copy]:
    copy = Copy(database=database, name=f"{database.name}_aside")
    async with administering(database) as admin:
        # A database is copied while nobody is connected to it.
        await admin.execute(f'ALTER DATABASE "{database.name}" WITH ALLOW_CONNECTIONS false')
        await admin.execute(_END, database.name)
        await clone_database(server_url(database), template=database.name, database=copy.name)
        await admin.execute(f'ALTER DATABASE "{database.name}" WITH ALLOW_CONNECTIONS true')
        await database.engine("owner").dispose()
        try:
            yield copy
        finally:
            await admin.execute(f'DROP DATABASE IF EXISTS "{copy.name}" WITH (FORCE)')


@asynccontextmanager
async def administering(database: Database) -> AsyncIterator[asyncpg.Connection]:
    admin = await asyncpg.connect(server_url(database))
    try:
        yield admin
    finally:
        await admin.close()


def server_url(database: Database) -> str:
    """Of the superuser, in a database that nobody copies."""
    return urlsplit(database.admin_url)._replace(path="/postgres").geturl()
