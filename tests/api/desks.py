"""A person at a desk of their own: logged in, from an address that nobody else comes from."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from api.totp import code_at
from db.users import NewUser, Role
from tests.api.authenticator import Authenticator
from tests.api.conftest import Api
from tests.api.people import add_person, enrol_totp, enter, fresh_address, log_in, signed_in, step_at

FACTORS = "/api/auth/factors"
STEP_UP = "/api/auth/step-up"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A person at a desk of their own, logged in."""

    api: Api
    http: httpx.AsyncClient
    person: NewUser
    headers: dict[str, str]

    async def post(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return await self.http.post(path, json=body, headers=self.headers)

    async def enrol_totp(self) -> tuple[bytes, list[str]]:
        return await enrol_totp(self.http, self.headers, now=time.time())

    async def enrol_passkey(self, key: Authenticator) -> httpx.Response:
        options = (await self.post(f"{FACTORS}/webauthn/options")).json()["passkey"]
        return await self.post(f"{FACTORS}/webauthn", {"label": "key", "credential": key.make(options)})

    async def login_token(self) -> dict[str, Any]:
        answer = await log_in(self.http, self.person.username)
        assert answer.status_code == 202, answer.json()
        awaited: dict[str, Any] = answer.json()
        return awaited

    async def finish(self, **factor: Any) -> httpx.Response:
        awaited = await self.login_token()
        body = {"login_token": awaited["login_token"], **factor}
        return await self.http.post("/api/auth/login/factor", json=body)


@asynccontextmanager
async def open_desk(api: Api) -> AsyncIterator[Desk]:
    person = await add_person(api.database, Role.ADMIN)
    async with api.at(fresh_address()) as http:
        headers = signed_in(await enter(http, person.username))
        yield Desk(api=api, http=http, person=person, headers=headers)


def now_code(secret: bytes) -> str:
    return code_at(secret, step_at(time.time()))
