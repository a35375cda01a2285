"""A PostgreSQL server for a while, and databases of its own cloned from one migrated template.

Nothing here has to survive a power cut, so nothing is flushed to disk.
"""

import asyncio
import os
import socket
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from db.bootstrap import clone_database, ensure_database
from stack.errors import StackError
from stack.postgres import Postgres, accepts_connections, prepare_data
from stack.state import CHECKOUT
from stack.tether import tethered

TEMPLATE = "nexus_template"
ROLES = ("owner", "api", "pipeline", "broker", "sealer")
PASSWORDS = {f"nexus_{role}": f"scratch-password-of-{role}" for role in ROLES}
SUPERUSER_PASSWORD = "password-of-postgres"  # noqa: S105  # of a server on loopback that lives for a while
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "200"}
START_WITHIN_SECONDS = 30.0
POLL_SECONDS = 0.02


@dataclass(kw_only=True)
class Database:
    """One migrated database of its own: a URL per role, and engines that are disposed with it."""

    name: str
    admin_url: str
    urls: dict[str, str]
    search_path: str | None = None
    _engines: dict[str, AsyncEngine] = field(default_factory=dict)

    def engine(self, role: str = "owner") -> AsyncEngine:
        """The role's engine: owner, api, pipeline, broker or sealer; the same one each time."""
        if role not in self._engines:
            settings = {} if self.search_path is None else {"search_path": self.search_path}
            self._engines[role] = create_async_engine(
                self.urls[role], connect_args={"server_settings": {"timezone": "UTC", **settings}}
            )
        return self._engines[role]

    async def dispose(self) -> None:
        for engine in self._engines.values():
            await engine.dispose()

    async def keep_copy(self) -> None:
        """Copy everything as it is now; nothing may be under way."""
        await self.dispose()
        await self._drop(self._copy)
        await clone_database(self._server_url, template=self.name, database=self._copy)

    async def put_back(self) -> None:
        """Replace the database by its copy, as a person does who restores a backup."""
        await self.dispose()
        await self._drop(self.name)
        await _administer(self._server_url, f'ALTER DATABASE "{self._copy}" RENAME TO "{self.name}"')

    async def drop(self) -> None:
        await self.dispose()
        for name in (self.name, self._copy):
            await self._drop(name)

    async def _drop(self, name: str) -> None:
        await _administer(self._server_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @property
    def _copy(self) -> str:
        return f"{self.name}_copy"

    @property
    def _server_url(self) -> str:
        return _database_url(self.admin_url, "postgres")


@asynccontextmanager
async def running_postgres() -> AsyncIterator[str]:
    """A server in a temporary folder; yields the superuser's URL."""
    with tempfile.TemporaryDirectory(prefix="nexus-postgres-") as folder:
        server = Postgres(data=Path(folder) / "data", port=free_port())
        await prepare_data(server, password=SUPERUSER_PASSWORD)
        url = server.url(password=SUPERUSER_PASSWORD)
        process = await start_postgres(server, options=FAST)
        try:
            give_up_at = time.monotonic() + START_WITHIN_SECONDS
            while not await accepts_connections(url):
                if time.monotonic() > give_up_at:
                    raise StackError(f"PostgreSQL takes no connections after {START_WITHIN_SECONDS:.0f} s")
                await asyncio.sleep(POLL_SECONDS)
            yield url
        finally:
            process.terminate()
            await process.wait()


async def start_postgres(server: Postgres, *, options: dict[str, str] | None = None) -> Process:
    log = server.data.with_name("postgres.log").open("ab")
    with log:
        return await create_subprocess_exec(
            *tethered(server.command(options)),
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=DEVNULL,
            stdout=log,
            stderr=STDOUT,
            start_new_session=True,
        )


async def make_template(admin_url: str, *, before_migrations: Sequence[str] = ()) -> None:
    """Create the roles and a database with all migrations applied, after `before_migrations` ran in it."""
    await ensure_database(admin_url, database=TEMPLATE, passwords=PASSWORDS)
    for statement in before_migrations:
        await _administer(_database_url(admin_url, TEMPLATE), statement)
    migration = await create_subprocess_exec(
        *(sys.executable, "-m", "db.migrate"),
        cwd=CHECKOUT,
        env={"PATH": os.defpath, "PYTHONPATH": str(CHECKOUT), "DATABASE_URL": _url(admin_url, "owner", TEMPLATE)},
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await migration.communicate()
    if migration.returncode != 0:
        raise StackError(f"db.migrate failed:\n{output.decode()}")


@asynccontextmanager
async def cloned_database(admin_url: str, *, name: str, search_path: str | None = None) -> AsyncIterator[Database]:
    await clone_database(admin_url, template=TEMPLATE, database=name)
    database = Database(
        name=name,
        admin_url=_database_url(admin_url, name),
        urls={role: _url(admin_url, role, name).replace("postgresql:", "postgresql+asyncpg:") for role in ROLES},
        search_path=search_path,
    )
    try:
        yield database
    finally:
        await database.drop()


async def _administer(admin_url: str, statement: str) -> None:
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _url(admin_url: str, role: str, database: str) -> str:
    port = urlsplit(admin_url).port
    return f"postgresql://nexus_{role}:{PASSWORDS[f'nexus_{role}']}@127.0.0.1:{port}/{database}"


def _database_url(admin_url: str, database: str) -> str:
    return urlsplit(admin_url)._replace(path=f"/{database}").geturl()
