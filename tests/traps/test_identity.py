"""Traps of identity: secrets that everybody has, and tokens that were taken back."""

import os
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from api.tokens import digest
from settings import ApiSettings
from stack.scratch import Database
from stack.state import CHECKOUT
from tests.api.conftest import running
from tests.api.people import add_person, enter, rewrite, rows, signed_in
from tests.waiting import free_port

PROFILE = "/api/auth/profile"

SECRETS = {
    "none": "",
    "short": "s3cr3t",
    "freqtrade's": "somethingrandom",
    "thirty-one bytes": "0123456789abcdef0123456789abcde",
    "one letter": "a" * 64,
    "of an example": "your-secret-key-here-change-in-production",
    "of FastAPI's tutorial": "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
async def test_trap_27_service_does_not_start_with_a_default_or_short_secret(secret: str) -> None:
    environ = {"PATH": os.defpath, "PYTHONPATH": str(CHECKOUT), "DATABASE_URL": "postgresql://x@127.0.0.1/x"}
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "api"),
        cwd=CHECKOUT,
        env={**environ, "SECRET_KEY": secret, "API_PORT": str(free_port())},
        stdout=PIPE,
        stderr=PIPE,
    )
    output, complaint = await process.communicate()

    assert (process.returncode, output) == (2, b"")
    assert complaint.decode().startswith("SECRET_KEY ")
    assert complaint.decode().count("\n") == 1
    assert not secret or secret not in complaint.decode()


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Two processes of the API on the same books."""

    one: httpx.AsyncClient
    other: httpx.AsyncClient
    database: Database
    username: str


@pytest.fixture
async def processes(database: Database) -> AsyncIterator[Processes]:
    environ = {
        "DATABASE_URL": database.urls["api"].replace("+asyncpg", ""),
        "SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}",
        "NEXUS_PROFILE": "embedded",
    }
    settings = ApiSettings.from_environ(environ)
    person = await add_person(database)
    async with running(settings) as one, running(settings) as other:
        yield Processes(one=one, other=other, database=database, username=person.username)


async def test_trap_28_token_revoked_then_the_next_request_fails(processes: Processes) -> None:
    entered = await enter(processes.one, processes.username)
    assert (await processes.other.get(PROFILE, headers=signed_in(entered))).status_code == 200
    assert (await processes.one.post("/api/auth/logout", headers=signed_in(entered))).status_code == 204

    for http in (processes.one, processes.other):
        assert (await http.get(PROFILE, headers=signed_in(entered))).status_code == 401


async def test_trap_28_refresh_token_reused_then_the_whole_family_is_revoked(processes: Processes) -> None:
    first = await enter(processes.one, processes.username)
    family = [first]
    for http in (processes.one, processes.other, processes.one):
        answer = await http.post("/api/auth/refresh", json={"refresh_token": family[-1]["refresh_token"]})
        family.append(answer.json())
    used = "UPDATE refresh_tokens SET used_at = used_at - interval '11 s' WHERE token_hash = $1"
    await rewrite(processes.database, used, digest(first["refresh_token"]))

    stolen = await processes.other.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert stolen.status_code == 401
    for member in family:
        again = await processes.one.post("/api/auth/refresh", json={"refresh_token": member["refresh_token"]})
        read = await processes.one.get(PROFILE, headers=signed_in(member))
        assert (again.status_code, read.status_code) == (401, 401)
    (alert,) = await rows(processes.database.engine("owner"), "SELECT kind, severity, raised_at FROM alerts")
    assert (alert["kind"], alert["severity"]) == ("refresh_token_reused", "critical")
    (ended,) = await rows(
        processes.database.engine("owner"),
        "SELECT ended_at, end_cause FROM sessions WHERE id = :id",
        id=UUID(first["session_id"]),
    )
    assert ended["end_cause"] == "reuse"
    assert abs(ended["ended_at"] - alert["raised_at"]) < timedelta(seconds=5)
