"""Line P6: what PostgreSQL acknowledged is there after a kill, and what it did not, whole or not at all."""

import asyncio
import os
import random
import signal
from pathlib import Path

import asyncpg
import pytest

from stack.postgres import Postgres, accepts_connections, prepare_data
from stack.scratch import PASSWORDS, SUPERUSER_PASSWORD, free_port, make_template, start_postgres
from tests.waiting import until

ROUNDS, WRITERS = 20, 4


async def write_until_it_dies(url: str, writer: str, acknowledged: set[str]) -> None:
    """Pairs of rows in one transaction each; a pair is noted once its commit is answered."""
    try:
        connection = await asyncpg.connect(url)
        number = 0
        while True:
            number += 1
            async with connection.transaction():
                for half in "ab":
                    await connection.execute(
                        "INSERT INTO audit_log (actor, action, subject, detail) VALUES ('test', 'x', $1, '{}')",
                        f"{writer}.{number}{half}",
                    )
            acknowledged.add(f"{writer}.{number}")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        return


@pytest.mark.long
async def test_p6_what_was_acknowledged_survives_twenty_kills_of_postgresql(tmp_path: Path) -> None:
    chance, acknowledged = random.Random(6), set[str]()
    server = Postgres(data=tmp_path / "data", port=free_port())
    await prepare_data(server, password=SUPERUSER_PASSWORD)
    admin = server.url(password=SUPERUSER_PASSWORD)

    async def serving() -> bool:
        return await accepts_connections(admin)

    process = await start_postgres(server)
    await until(serving, what="PostgreSQL")
    await make_template(admin)
    api = f"postgresql://nexus_api:{PASSWORDS['nexus_api']}@127.0.0.1:{server.port}/nexus_template"
    for turn in range(ROUNDS):
        before = len(acknowledged)
        writing = [
            asyncio.create_task(write_until_it_dies(api, f"{turn}.{each}", acknowledged))
            for each in range(WRITERS)
        ]
        await until(lambda at=before: _grown(acknowledged, at), what="commits")
        await asyncio.sleep(chance.uniform(0, 0.3))
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await asyncio.gather(*writing)
        process = await start_postgres(server)
        await until(serving, what="PostgreSQL after the kill")
        connection = await asyncpg.connect(api)
        kept = [
            row["subject"] for row in await connection.fetch("SELECT subject FROM audit_log WHERE action = 'x'")
        ]
        await connection.close()
        pairs = {subject[:-1] for subject in kept}
        assert acknowledged <= pairs, f"lost in round {turn}"
        assert len(kept) == 2 * len(pairs), f"torn in round {turn}"
    process.terminate()
    await process.wait()
    assert len(acknowledged) > ROUNDS * WRITERS


async def _grown(acknowledged: set[str], before: int) -> bool:
    return len(acknowledged) > before + WRITERS
