"""Whether the database may be trusted with the books: what is committed stays, and no service owns its tables."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.engine import make_engine

_STANDING = text("""
    SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
           current_setting('synchronous_commit') AS synchronous_commit, current_user AS role,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
           EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public'
                   AND pg_has_role(current_user, tableowner, 'MEMBER')) AS owner
""")

# With any of these off, a crash loses what was answered as done; `local` and above wait for this server's disk.
_DURABLE = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": ("on", "local", "remote_write", "remote_apply"),
}

# How long a server that starts at the same time is waited for.
PATIENCE = timedelta(seconds=30)
_PAUSE = timedelta(milliseconds=500)

log = logging.getLogger(__name__)


class UnsafeDatabase(Exception):
    """The books may not be kept there; the message is one line that says what to change."""


async def check_safety(database_url: str, *, durable: bool, patience: timedelta = PATIENCE) -> None:
    """Raise UnsafeDatabase where the role may do more than a service, or a `durable` server may lose commits.

    A server that starts at the same time is waited for; one that stays away is as little to be trusted.
    """
    engine = make_engine(database_url, application="start", pool_size=1)
    tries, standing = 1 + patience // _PAUSE, None
    try:
        for left in reversed(range(tries)):
            standing = await _ask(engine, last=left == 0)
            if standing is not None:
                break
            await asyncio.sleep(_PAUSE.total_seconds())
    finally:
        await engine.dispose()
    assert standing is not None, "the last try raises"
    complaint = _of_role(standing) or (_of_server(standing) if durable else None)
    if complaint is not None:
        raise UnsafeDatabase(complaint)


async def _ask(engine: AsyncEngine, *, last: bool) -> dict[str, Any] | None:
    try:
        async with engine.connect() as connection:
            return dict((await connection.execute(_STANDING)).mappings().one())
    except (OSError, asyncpg.PostgresError, SQLAlchemyError) as error:
        told = str(error).partition("\n")[0] or type(error).__name__
        if last:
            raise UnsafeDatabase(f"the database cannot be reached: {told}") from error
        log.warning("the database cannot be reached yet: %s", told)
        return None


def _of_role(standing: Mapping[str, Any]) -> str | None:
    role = standing["role"]
    if standing["superuser"]:
        return (
            f"DATABASE_URL logs in as {role}, a superuser, who may change history; give each process its own role"
        )
    if standing["owner"]:
        return f"DATABASE_URL logs in as {role}, an owner of tables, who may change history; use another role"
    return None


def _of_server(standing: Mapping[str, Any]) -> str | None:
    for name, allowed in _DURABLE.items():
        if standing[name] not in allowed:
            return f"PostgreSQL runs with {name} = {standing[name]}, so a crash loses commits; set it to on"
    return None
