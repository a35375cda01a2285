"""Users of their own for a test, and what they do at the door."""

import itertools
from base64 import b32decode
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.totp import STEP_SECONDS, code_at
from db.users import NewUser, Role, add_user
from stack.scratch import Database
from tests.api.books import CHEAP_HASH, PASSWORD

_numbers = itertools.count(1)


def fresh_address() -> str:
    """An address that nobody has come from yet."""
    number = next(_numbers)
    return f"10.9.{number // 250}.{number % 250 + 1}"


async def add_person(database: Database, role: Role = Role.TRADER, *, password_hash: str = CHEAP_HASH) -> NewUser:
    """A user whom no other test has, with the password of all."""
    new = NewUser(id=uuid4(), username=f"person-{next(_numbers)}", password_hash=password_hash, role=role)
    async with database.engine("owner").begin() as connection:
        assert await add_user(connection, new, actor="test")
    return new


async def log_in(http: httpx.AsyncClient, username: str, password: str = PASSWORD) -> httpx.Response:
    return await http.post("/api/auth/login", json={"username": username, "password": password})


async def enter(http: httpx.AsyncClient, username: str) -> dict[str, Any]:
    """The answer to a login without a second factor."""
    answer = await log_in(http, username)
    assert answer.status_code == 200, answer.json()
    entered: dict[str, Any] = answer.json()
    return entered


def signed_in(entered: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {entered['access_token']}"}


async def enrol_totp(http: httpx.AsyncClient, headers: dict[str, str], *, now: float) -> tuple[bytes, list[str]]:
    """The secret and the recovery codes of an authenticator app, confirmed by the code of the step before."""
    offered = (await http.post("/api/auth/factors/totp", json={"label": "phone"}, headers=headers)).json()
    secret = secret_of(offered["secret"])
    path = f"/api/auth/factors/{offered['id']}/confirm"
    confirmed = await http.post(path, json={"code": code_at(secret, step_at(now) - 1)}, headers=headers)
    assert confirmed.status_code == 200, confirmed.json()
    return secret, confirmed.json()["recovery_codes"]


def secret_of(base32: str) -> bytes:
    return b32decode(base32 + "=" * (-len(base32) % 8))


def step_at(now: float) -> int:
    return int(now) // STEP_SECONDS


async def rows(engine: AsyncEngine, query: str, **values: Any) -> list[dict[str, Any]]:
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(text(query), values)).mappings()]


async def rewrite(database: Database, statement: str, *values: Any) -> None:
    """Change rows as nobody may, not even their owner, to let time pass for them."""
    connection = await asyncpg.connect(database.admin_url)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement, *values)
    finally:
        await connection.close()


async def age_proof(database: Database, user_id: UUID) -> None:
    """Let six minutes pass since the user proved who they are."""
    await rewrite(database, "UPDATE sessions SET proven_at = now() - interval '6 min' WHERE user_id = $1", user_id)
