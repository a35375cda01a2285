"""A connection to the books for commands that work on the database itself."""

import getpass
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from db.accounts import Account, list_slugs, read_account
from db.engine import make_engine
from settings import Environment
from stack.errors import StackError
from stack.state import StateFolder


@asynccontextmanager
async def books(state: StateFolder) -> AsyncIterator[AsyncConnection]:
    """One transaction on the database of DATABASE_URL, else on that of the running stack."""
    engine = make_engine(_database_url(state), application="nexus command", pool_size=1)
    try:
        async with engine.begin() as connection:
            yield connection
    except (OSError, asyncpg.PostgresError, SQLAlchemyError) as error:
        first_line = str(error).partition("\n")[0]
        raise StackError(f"the database: {first_line or type(error).__name__}") from error
    finally:
        await engine.dispose()


async def one_account(connection: AsyncConnection, slug: str | None) -> Account:
    """The account of that slug, else the only one."""
    known = await list_slugs(connection)
    if not known:
        raise StackError("there is no account yet; `nexus up` makes one")
    if slug is None and len(known) > 1:
        raise StackError(f"name an account with --account: {', '.join(known)}")
    if slug is not None and slug not in known:
        raise StackError(f"there is no account {slug!r}; name one of {', '.join(known)}")
    return await read_account(connection, slug or known[0])


def actor() -> str:
    """Who the audit record names: the account on this machine that ran the command."""
    return f"command:{getpass.getuser()}"


def _database_url(state: StateFolder) -> str:
    environment = Environment(os.environ)
    if environment.optional("DATABASE_URL") is not None:
        return environment.database_url()
    running = state.running()
    if running is None:
        raise StackError(f"no stack runs on {state.root}; start it with `nexus up` or set DATABASE_URL")
    stored = {"DATABASE_URL": Path(running.urls.database_owner_file).read_text()}
    return Environment(stored).database_url()
