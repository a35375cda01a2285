"""Line P2: a service starts on no database that may lose commits, and as no role that may change history."""

import os
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from datetime import timedelta

import pytest

from db.safety import UnsafeDatabase, check_safety
from stack.scratch import Database
from stack.state import CHECKOUT
from tests.waiting import free_port


@pytest.mark.parametrize("role", ["api", "pipeline", "broker", "sealer"])
async def test_p2_role_of_each_service_may_start_where_nothing_must_last(database: Database, role: str) -> None:
    await check_safety(database.urls[role], durable=False)


async def test_p2_server_that_may_lose_commits_is_refused_by_the_setting_that_does_it(database: Database) -> None:
    with pytest.raises(UnsafeDatabase, match="fsync = off"):
        await check_safety(database.urls["api"], durable=True)


async def test_p2_owner_and_superuser_are_refused_by_name(database: Database) -> None:
    with pytest.raises(UnsafeDatabase, match="nexus_owner, an owner of tables"):
        await check_safety(database.urls["owner"], durable=False)
    superuser = database.admin_url.replace("postgresql:", "postgresql+asyncpg:")
    with pytest.raises(UnsafeDatabase, match="postgres, a superuser"):
        await check_safety(superuser, durable=False)


async def test_a_server_that_stays_away_is_not_trusted_either() -> None:
    away = f"postgresql+asyncpg://nobody:x@127.0.0.1:{free_port()}/nexus"
    with pytest.raises(UnsafeDatabase, match="cannot be reached"):
        await check_safety(away, durable=True, patience=timedelta(seconds=1))


@pytest.mark.parametrize("words", [("-m", "api"), ("worker.py", "--role", "pipeline")])
async def test_a_process_on_an_unsafe_database_ends_with_one_line(
    database: Database, words: tuple[str, ...]
) -> None:
    process = await create_subprocess_exec(
        *(sys.executable, *words),
        cwd=CHECKOUT,
        env={
            "PATH": os.defpath,
            "DATABASE_URL": database.urls["owner"].replace("+asyncpg", ""),
            "SECRET_KEY": "f0e1d2c3b4a5968778695a4b3c2d1e0f",
            "NEXUS_PROFILE": "embedded",
        },
        stdout=PIPE,
        stderr=PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    (line,) = said.decode().splitlines()
    assert "nexus_owner, an owner of tables" in line
