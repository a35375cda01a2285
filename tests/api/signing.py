"""API keys for tests, and requests signed with them."""

import hashlib
import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import httpx

from api.rights import Scope
from api.signatures import about_key
from api.vault import Vault
from db.api_keys import NewKey, add_key
from db.seed import let_trade
from db.users import NewUser
from stack.scratch import Database
from tests.api.books import id_of
from tests.api.conftest import KEY, Api
from tests.api.people import add_person

PROFILE = "/api/auth/profile"
KEYS = "/api/auth/keys"
SECRET = "5" * 64


@dataclass(frozen=True, kw_only=True)
class Program:
    """What has a key, and signs with it."""

    key_id: UUID
    secret: str

    def headers(self, method: str, target: str, body: bytes = b"", **changes: str) -> dict[str, str]:
        """The headers of a request to `target`, path and query; `changes` are there before it is signed."""
        sent = {
            "X-Nexus-Key": str(self.key_id),
            "X-Nexus-Timestamp": str(round(time.time() * 1000)),
            "X-Nexus-Nonce": uuid4().hex,
            **changes,
        }
        parts = [sent["X-Nexus-Timestamp"], sent["X-Nexus-Nonce"], method, target]
        parts += [hashlib.sha256(body).hexdigest(), *([sent[w] for w in ("X-Nexus-Window",) if w in sent])]
        signature = hmac.new(self.secret.encode(), "\n".join(parts).encode(), "sha256").hexdigest()
        return {**sent, "X-Nexus-Signature": signature}

    async def call(
        self, http: httpx.AsyncClient, method: str, target: str, body: Any = None, **changes: str
    ) -> httpx.Response:
        request = http.build_request(method, target, json=body)
        request.headers.update(self.headers(method, target, request.content, **changes))
        return await http.send(request)


def api_key(key_id: UUID, *, user_id: UUID, scopes: tuple[Scope, ...] = (Scope.READ,), **changes: Any) -> NewKey:
    values: dict[str, Any] = {
        "id": key_id,
        "user_id": user_id,
        "name": f"bot {key_id.hex[:8]}",
        "secret": Vault([KEY]).seal(SECRET.encode(), about=about_key(key_id)),
        "scopes": list(scopes),
        "networks": [],
        "expires_at": datetime.now(UTC) + timedelta(days=1),
        **changes,
    }
    return NewKey(**values)


async def add_program(
    database: Database, user_id: UUID, *scopes: Scope, networks: tuple[str, ...] = (), **changes: Any
) -> Program:
    """A program with a key of the user."""
    listed = [ip_network(each) for each in networks]
    key = api_key(uuid4(), user_id=user_id, scopes=scopes or (Scope.READ,), networks=listed, **changes)
    async with database.engine("api").begin() as connection:
        assert await add_key(connection, key)
    return Program(key_id=key.id, secret=SECRET)


async def trader_on_demo(api: Api) -> NewUser:
    """A person on account demo, with the password of all."""
    person = await add_person(api.database)
    async with api.database.engine("owner").begin() as connection:
        await let_trade(connection, account=id_of("demo"), user_id=person.id)
    return person


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]
