import asyncio
import os
import shutil
import signal
from pathlib import Path

import asyncpg
import pytest

from stack.errors import StackError
from stack.leftovers import end_leftovers
from stack.postgres import Postgres, accepts_connections, binaries, prepare_data
from stack.scratch import start_postgres
from tests.waiting import free_port, until

PASSWORD = "a password: with / odd @ signs"


@pytest.fixture
async def server(tmp_path: Path) -> Postgres:
    server = Postgres(data=tmp_path / "data", port=free_port())
    await prepare_data(server, password=PASSWORD)
    return server


async def test_a_restart_after_kill_keeps_what_was_committed(server: Postgres) -> None:
    url = server.url(password=PASSWORD)
    process = await start_postgres(server)
    await until(lambda: accepts_connections(url), what="the first start")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
    await connection.close()

    process.kill()
    await process.wait()
    await prepare_data(server, password=PASSWORD)
    process = await start_postgres(server)
    try:
        await until(lambda: accepts_connections(url), what="the second start")
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT number FROM kept") == 1
        await connection.close()
    finally:
        process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


async def test_a_busy_backend_that_outlived_its_server_is_ended(server: Postgres) -> None:
    url = server.url(password=PASSWORD)
    process = await start_postgres(server)
    await until(lambda: accepts_connections(url), what="the start")
    connection = await asyncpg.connect(url)
    backend_pid = connection.get_server_pid()
    # A counting backend does not look for its server, a waiting one would end by itself.
    query = asyncio.create_task(connection.fetchval("SELECT count(*) FROM generate_series(1, 1e10)"))
    await until(lambda: _is_counting(url), what="the query to run")
    process.kill()
    await process.wait()
    assert _is_running(backend_pid)

    await end_leftovers(server.data)
    assert not _is_running(backend_pid)
    with pytest.raises(asyncpg.PostgresConnectionError):
        await query


async def test_a_lock_file_that_names_another_live_process_does_not_block_the_start(server: Postgres) -> None:
    lock = server.data / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{server.data}\n0\n{server.port}\n\n127.0.0.1\n")
    await end_leftovers(server.data)
    assert not lock.exists()


async def test_only_the_password_opens_it(server: Postgres) -> None:
    process = await start_postgres(server)
    await until(lambda: accepts_connections(server.url(password=PASSWORD)), what="the start")
    try:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.url(password="another"))
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()


async def test_data_of_another_major_version_is_refused_in_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(StackError, match=r"was made by PostgreSQL 16, this stack runs 18"):
        await prepare_data(Postgres(data=data, port=free_port()), password=PASSWORD)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
async def test_as_root_the_server_runs_from_folders_that_its_user_cannot_pass(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    wheel = binaries().parents[1]
    # The programs find their libraries in the folder that a wheel lays beside its package.
    for folder in (binaries().parent, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(folder, closed / folder.relative_to(wheel.parent), symlinks=True)
    programs = closed / binaries().relative_to(wheel.parent)
    server = Postgres(data=closed / "data", port=free_port(), programs=programs)
    await prepare_data(server, password=PASSWORD)
    process = await start_postgres(server)
    try:
        await until(lambda: accepts_connections(server.url(password=PASSWORD)), what="the start")
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()
    assert closed.stat().st_mode & 0o077 == 0


async def test_the_data_folder_belongs_to_its_server_alone(server: Postgres) -> None:
    assert server.data.stat().st_mode & 0o077 == 0


async def _is_counting(url: str) -> bool:
    connection = await asyncpg.connect(url)
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT count(*) FROM gen%' AND state = 'active'"
    )
    running = await connection.fetchval(query)
    await connection.close()
    return bool(running)


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
