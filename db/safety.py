"""Whether the database may be trusted with the books: what is committed stays, and no service owns its tables."""

import logging
from collections.abc import Mapping
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from db.engine import make_engine

_STANDING = text("""
    SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
           current_setting('synchronous_commit') AS synchronous_commit, current_user AS role,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
           EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public'
                   AND pg_has_role(current_user, tableowner, 'USAGE')) AS owner
""")

# With any of these off, a crash loses what was answered as done; `local` and above wait for this server's disk.
_DURABLE = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": ("on", "local", "remote_write", "remote_apply"),
}

log = logging.getLogger(__name__)


class UnsafeDatabase(Exception):
    """The books may not be kept there; the message is one line that says what to change."""


async def check_safety(database_url: str, *, durable: bool) -> None:
    """Raise UnsafeDatabase where the role may do more than a service, or a `durable` server may lose commits.

    A server that cannot be reached yet keeps nothing from starting: nothing can be written to it either.
    """
    engine = make_engine(database_url, application="start", pool_size=1)
    try:
        async with engine.connect() as connection:
            standing = dict((await connection.execute(_STANDING)).mappings().one())
    except (OSError, asyncpg.PostgresError, SQLAlchemyError) as error:
        log.warning("whether the database is safe could not be asked: %s", str(error).partition("\n")[0])
        return
    finally:
        await engine.dispose()
    complaint = _of_role(standing) or (_of_server(standing) if durable else None)
    if complaint is not None:
        raise UnsafeDatabase(complaint)


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
