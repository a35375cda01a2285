"""The database that the migrations make is the one that the queries are written against."""

import itertools
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from db.tables import metadata
from domain.orders import TRANSITIONS, OrderState
from stack.scratch import Database
from stack.state import CHECKOUT


async def test_migrated_schema_is_the_one_in_tables(database: Database) -> None:
    def differences(connection):
        context = MigrationContext.configure(
            connection, opts={"include_object": lambda obj, name, kind, _, __: name != "alembic_version"}
        )
        return compare_metadata(context, metadata)

    async with database.engine("owner").connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_trigger_moves_are_those_of_the_domain(database: Database) -> None:
    async with database.engine("owner").connect() as connection:
        for old, new in itertools.permutations(OrderState, 2):
            allowed = await connection.scalar(
                text("SELECT trade_state_may_become(:old, :new)"), {"old": old, "new": new}
            )
            assert allowed == (new in TRANSITIONS[old].values()), (old, new)


REVISIONS = sorted(path.stem[:4] for path in (CHECKOUT / "db" / "migrations" / "versions").glob("0*.sql"))


async def upgrade(database_url: str, revision: str) -> None:
    program = f"""
import sys
from alembic import command
from alembic.config import Config
from db.migrate import MIGRATIONS
config = Config()
config.set_main_option("script_location", str(MIGRATIONS))
config.set_main_option("sqlalchemy.url", {database_url!r})
command.upgrade(config, {revision!r})
"""
    process = await create_subprocess_exec(
        sys.executable, "-c", program, cwd=CHECKOUT, env={"PATH": os.defpath}, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


@pytest.mark.long
@pytest.mark.parametrize("revision", REVISIONS[:-1])
async def test_p8_schema_of_every_revision_is_brought_to_the_newest(
    migrated_template: str, database: Database, revision: str
) -> None:
    """From a database with its first rows, since a change that an empty one takes may not suit a filled one."""
    name = f"nexus_from_{revision}"
    owner = urlsplit(database.urls["owner"])._replace(path=f"/{name}").geturl()
    server = await asyncpg.connect(urlsplit(migrated_template)._replace(path="/postgres").geturl())
    await server.execute(f'CREATE DATABASE "{name}" OWNER nexus_owner')
    try:
        await upgrade(owner, revision)
        books = await asyncpg.connect(owner.replace("+asyncpg", ""))
        await books.execute(
            "INSERT INTO audit_log (actor, action, subject, detail) "
            "SELECT 'test', 'test.written', 'thing:' || n, '{}' FROM generate_series(1, 1000) AS n"
        )
        await books.close()
        await upgrade(owner, "head")
        engine = create_async_engine(owner)
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM audit_log WHERE version IS NULL")) == 1000
        await engine.dispose()
    finally:
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.close()
