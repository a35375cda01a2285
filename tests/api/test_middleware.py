"""What every request passes through: origins of browsers, bodies that trickle in, answers that do not come."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.middleware import BodyLimit, RequestEdge, TimeLimit
from settings import ApiSettings, SettingsError
from tests.api.conftest import Api, running

OURS = "https://desk.example.com"
COMMON = {"DATABASE_URL": "postgresql://u:p@localhost/nexus", "SECRET_KEY": "0123456789abcdef0123456789abcdef"}


async def test_c7_foreign_origin_gets_no_allow_header_and_by_default_none_does(api: Api) -> None:
    allowing = replace(api.settings, cors_origins=(OURS,))
    for settings, origin, allowed in (
        (api.settings, OURS, None),
        (allowing, OURS, OURS),
        (allowing, "https://evil.example", None),
        (allowing, "null", None),
    ):
        async with running(settings) as http:
            answer = await http.get("/api/system/health", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed, (settings.cors_origins, origin)
            assert "access-control-allow-credentials" not in answer.headers
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            preflight = await http.options("/api/trading/execute", headers=asked)
            assert preflight.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize("value", ["*", "https://*.example.com", "http://desk.example.com", f"{OURS}/", "desk"])
def test_c7_origin_that_is_not_one_in_full_is_refused_at_the_start(value: str) -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS is"):
        ApiSettings.from_environ({**COMMON, "CORS_ORIGINS": value})


def test_c7_several_origins_are_taken_as_they_are() -> None:
    settings = ApiSettings.from_environ({**COMMON, "CORS_ORIGINS": f"{OURS}, http://localhost:9003"})
    assert settings.cors_origins == (OURS, "http://localhost:9003")


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()
    await Response("late")(scope, receive, send)


async def parsing(scope: Scope, receive: Receive, send: Send) -> None:
    """As FastAPI reads a body: what goes wrong is answered."""
    try:
        while (await receive()).get("more_body", False):
            pass
    except HTTPException as error:
        await Response(error.detail, status_code=error.status_code)(scope, receive, send)


async def test_a_request_that_is_not_answered_in_time_ends_as_one_that_may_have_acted() -> None:
    transport = httpx.ASGITransport(RequestEdge(TimeLimit(slow, seconds=0.05)))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.json()["code"], answer.json()["retry"]) == (
        503,
        "request_timeout",
        "unsafe",
    )
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_that_trickles_in_is_given_up() -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    transport = httpx.ASGITransport(RequestEdge(BodyLimit(parsing, seconds=0.05)))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as http:
        answer = await http.post("/", content=trickle())
    assert (answer.status_code, answer.text) == (408, "a body has to arrive within 0.05 s")


async def test_a_connection_that_waits_behind_its_body_is_not_given_up() -> None:
    gone = asyncio.Event()
    messages: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]
    seen: list[str] = []

    async def receive() -> MutableMapping[str, Any]:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, send
        await receive()
        asyncio.get_running_loop().call_later(0.1, gone.set)
        seen.append((await receive())["type"])

    async def send(_: MutableMapping[str, Any]) -> None: ...

    await BodyLimit(waiting, seconds=0.05)(
        {"type": "http", "headers": [], "state": {"request_id": "x"}}, receive, send
    )
    assert seen == ["http.disconnect"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/auth/sessions", "DELETE, GET"),
        ("/api/auth/factors/recovery-codes", "POST"),
        ("/api/trading/limits/daily_loss", "PUT"),
    ],
)
async def test_a_method_that_a_path_has_not_is_answered_with_those_that_it_has(
    api: Api, path: str, allowed: str
) -> None:
    answer = await api.http.request("PATCH", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
