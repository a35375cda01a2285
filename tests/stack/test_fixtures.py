"""The fixtures that every other test stands on."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from stack.scratch import Database


@pytest.mark.parametrize("role", ["owner", "api", "pipeline", "broker", "sealer"])
async def test_each_role_reaches_its_database_as_itself(database: Database, role: str) -> None:
    async with database.engine(role).connect() as connection:
        found = (await connection.execute(text("SELECT current_user, current_database()"))).one()
    assert tuple(found) == (f"nexus_{role}", database.name)


async def test_a_database_holds_the_migrated_tables(database: Database) -> None:
    async with database.engine("owner").connect() as connection:
        assert await connection.scalar(text("SELECT to_regclass('trade_ledger')")) is not None


async def test_the_services_own_no_table(database: Database) -> None:
    async with database.engine("pipeline").connect() as connection:
        with pytest.raises(DBAPIError, match="must be owner of table trade_ledger"):
            await connection.execute(text("DROP TABLE trade_ledger"))
