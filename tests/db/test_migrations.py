"""The database that the migrations make is the one that the queries are written against."""

import itertools

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from db.tables import metadata
from domain.orders import TRANSITIONS, OrderState
from stack.scratch import Database


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
