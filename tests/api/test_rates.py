"""How often a caller may ask: counted by all processes together, and never in the way of a stop."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from shutil import which
from uuid import uuid4

import httpx
import pytest

from api.rate_stores import RateStore, open_store
from api.rates import Rates, bucket_of
from api.rights import NEVER_HELD_UP, ROUTES, Right, Scope
from db.users import NewUser
from settings import ApiSettings, Bucket, Environment
from tests.api.conftest import Api, client_of, opened, order, running, silent_server
from tests.api.people import add_person, enter, fresh_address, log_in, rows, signed_in
from tests.api.signing import PROFILE, add_program, code, trader_on_demo
from tests.waiting import free_port, until

EXECUTE, STOP = "/api/trading/execute", "/api/system/emergency-stop"
STANDING = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')


def limited(settings: ApiSettings, *, redis_url: str | None = None, **limits: str) -> ApiSettings:
    """The settings with some buckets limited, the others off."""
    given = {Bucket(name): Environment({name: limit}).rate(name, "off") for name, limit in limits.items()}
    return replace(settings, rate_limits={**dict.fromkeys(Bucket), **given}, redis_url=redis_url)


@pytest.fixture
async def trader(api: Api) -> NewUser:
    return await trader_on_demo(api)


@pytest.fixture(params=["postgresql", "redis"])
async def redis_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str | None]:
    """The URL of a Redis, and None for the books."""
    if request.param == "postgresql":
        yield None
        return
    binary = which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    quiet = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        *(binary, "--port", str(port), *quiet), stdout=asyncio.subprocess.DEVNULL
    )

    async def up() -> bool:
        store = open_store(database_url="", redis_url=url)
        try:
            return await store.check()
        finally:
            await store.close()

    url = f"redis://127.0.0.1:{port}/0"
    try:
        await until(up, what="Redis to be up")
        yield url
    finally:
        process.terminate()
        await process.wait()


def test_c4_what_makes_trading_calmer_has_a_bucket_of_its_own() -> None:
    assert {right for right in Right if bucket_of(right) is Bucket.STOPS} == set(NEVER_HELD_UP)
    assert {right for right in Right if bucket_of(right) is Bucket.ORDERS} == {Right.TRADE}
    assert {place for place, right in ROUTES.items() if bucket_of(right) is Bucket.ORDERS} == {
        ("POST", EXECUTE),
        ("POST", "/api/trading/trades/{trade_id}/modify"),
        ("POST", "/api/trading/positions/{position_id}/reverse"),
    }


async def test_c4_one_too_many_is_429_with_the_three_headers(api: Api, trader: NewUser) -> None:
    async with running(limited(api.settings, orders="2/minute")) as http:
        headers = signed_in(await enter(http, trader.username))
        answers = [
            await http.post(EXECUTE, json=order(f"c4-{uuid4().hex[:8]}"), headers=headers) for _ in range(3)
        ]
        unlimited = await http.get(PROFILE, headers=headers)

    assert [answer.status_code for answer in answers] == [201, 201, 429]
    for left, answer in zip((1, 0, 0), answers, strict=True):
        assert answer.headers["RateLimit-Policy"] == '"orders";q=2;w=60'
        bucket, remaining, wait = STANDING.fullmatch(answer.headers["RateLimit"]).groups()
        assert (bucket, int(remaining)) == ("orders", left)
        assert 0 < int(wait) <= 60
    refused = answers[-1]
    assert code(refused) == (429, "rate_limited")
    assert refused.json()["retry"] == "after"
    assert refused.headers["Retry-After"] == wait
    assert "RateLimit" not in unlimited.headers


async def test_c4_stop_and_cancel_and_close_pass_while_the_order_bucket_is_empty(api: Api) -> None:
    trader = await trader_on_demo(api)
    async with running(limited(api.settings, orders="1/minute", stops="50/minute")) as http:
        headers = signed_in(await enter(http, trader.username))
        resting = order(f"c4-{uuid4().hex[:8]}", type="limit", price="1.05000", time_in_force="gtc")
        placed = await http.post(EXECUTE, json=resting, headers=headers)
        assert placed.status_code == 201, placed.json()
        assert (await http.post(EXECUTE, json=order("c4-over"), headers=headers)).status_code == 429
        cancelled = await http.post(
            f"/api/trading/trades/{placed.json()['id']}/cancel", json={"client_order_id": "c4"}, headers=headers
        )
        stopped = await http.post(
            STOP,
            json={"client_order_id": "c4-stop", "reason": "a test", "scope": "user", "scope_id": str(trader.id)},
            headers=headers,
        )
    assert cancelled.status_code == 200, cancelled.json()
    assert cancelled.json()["trade"]["state"] == "cancelled"
    assert stopped.status_code == 201, stopped.json()
    for answer in (cancelled, stopped):
        assert answer.headers["RateLimit-Policy"] == '"stops";q=50;w=60'


@pytest.mark.parametrize("kind", ["refused", "silent", "redis", "unwilling"])
async def test_c4_store_that_is_down_lets_everything_pass_and_says_so(
    api: Api, trader: NewUser, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = limited(api.settings, orders="1/minute", stops="1/minute", reads="1/minute")
    with silent_server() as silence:
        place = f"127.0.0.1:{free_port()}" if kind == "refused" else silence
        redis_url = f"redis://{place}" if kind == "redis" else None
        unwilling = api.settings.database_url + "_that_is_not_there"
        database_url = unwilling if kind == "unwilling" else f"postgresql+asyncpg://x:y@{place}/x"
        away = open_store(database_url=database_url, redis_url=redis_url)
        stopped, reads, took = await asked_with(api, settings, away, trader, caplog)

    assert stopped.status_code == 201, stopped.json()
    assert [answer.status_code for answer in reads] == [200] * 3
    assert not {"RateLimit", "RateLimit-Policy"} & {*stopped.headers, *reads[0].headers}
    # The first read finds out; the others do not wait for it again.
    assert took["stop"] < 1.0
    assert took["reads"] < 2.0
    assert any("rate limits are not counted" in each.message for each in caplog.records)


async def asked_with(
    api: Api, settings: ApiSettings, store: RateStore, trader: NewUser, caplog: pytest.LogCaptureFixture
) -> tuple[httpx.Response, list[httpx.Response], dict[str, float]]:
    """The answers to a stop and to three reads while limits are counted in the store, and how long they took."""
    async with opened(settings) as app, client_of(app) as http:
        entered = await enter(http, trader.username)
        app.state.connections = replace(app.state.connections, rates=Rates(settings.rate_limits, store))
        loop = asyncio.get_running_loop()
        with caplog.at_level(logging.WARNING, logger="api"):
            began = loop.time()
            stop = {"client_order_id": uuid4().hex, "reason": "a test", "scope": "user", "wait_ms": 0}
            stopped = await http.post(STOP, json={**stop, "scope_id": str(trader.id)}, headers=signed_in(entered))
            took = loop.time() - began
            reads = [await http.get(PROFILE, headers=signed_in(entered)) for _ in range(3)]
            lasted = {"stop": took, "reads": loop.time() - began - took}
        await store.close()
    return stopped, reads, lasted


async def test_of_200_in_parallel_over_two_processes_exactly_the_allowed_pass(
    api: Api, trader: NewUser, redis_url: str | None
) -> None:
    settings = limited(api.settings, redis_url=redis_url, reads="37/5 minutes")
    async with running(settings) as one, running(settings) as other:
        headers = signed_in(await enter(one, trader.username))
        answers = await asyncio.gather(*(http.get(PROFILE, headers=headers) for http in (one, other) * 100))
        assert sorted(answer.status_code for answer in answers) == [200] * 37 + [429] * 163
        told = [STANDING.fullmatch(each.headers["RateLimit"]) for each in answers if each.status_code == 200]
        assert sorted(int(each[2]) for each in told) == list(range(37))


async def test_window_that_is_over_begins_anew(api: Api, trader: NewUser, redis_url: str | None) -> None:
    async with running(limited(api.settings, redis_url=redis_url, reads="1/1 second")) as http:
        headers = signed_in(await enter(http, trader.username))

        async def passed() -> bool:
            return (await http.get(PROFILE, headers=headers)).status_code == 200

        assert await passed()
        await until(passed, what="the window to be over")


async def test_each_user_and_each_key_has_a_bucket_of_its_own(api: Api, trader: NewUser) -> None:
    bots = [await add_program(api.database, trader.id, Scope.READ) for _ in range(2)]
    async with running(limited(api.settings, reads="1/minute")) as http:
        headers = signed_in(await enter(http, trader.username))
        for _ in range(2):
            mine = await http.get(PROFILE, headers=headers)
            bots_answers = [await bot.call(http, "GET", PROFILE) for bot in bots]
        other = signed_in(await enter(http, (await add_person(api.database)).username))
        first = await http.get(PROFILE, headers=other)
        # Whoever cannot sign uses up nothing.
        third = await add_program(api.database, trader.id, Scope.READ)
        forged = {**third.headers("GET", PROFILE), "X-Nexus-Signature": "0" * 64}
        assert [(await http.get(PROFILE, headers=forged)).status_code for _ in range(3)] == [401] * 3
        assert (await third.call(http, "GET", PROFILE)).status_code == 200
    assert [each.status_code for each in (mine, *bots_answers, first)] == [429, 429, 429, 200]


async def test_logins_are_limited_by_address(api: Api) -> None:
    person = await add_person(api.database)
    async with opened(limited(api.settings, logins="3/minute")) as app:
        for address, statuses in ((fresh_address(), [200, 200, 200, 429]), (fresh_address(), [200])):
            async with client_of(app, address=address) as http:
                answers = [await log_in(http, person.username) for _ in statuses]
            assert [answer.status_code for answer in answers] == statuses
    assert answers[0].headers["RateLimit"].startswith('"logins";r=2;')


async def test_counts_that_are_over_are_removed(api: Api) -> None:
    store = open_store(database_url=api.settings.database_url, redis_url=None)
    await store.take("one", 1)
    assert await store.get("one") == 1
    await until(lambda: _gone(store, "one"), what="the window to be over")
    store._swept_at -= 3_600
    await store.take("two", 60)
    left = {row["key"] for row in await rows(api.database.engine("owner"), "SELECT key FROM rate_counts")}
    assert "one" not in left
    await store.clear("two")
    assert (await store.get("two"), await store.check()) == (0, True)
    assert await store.reset() is not None
    await store.close()


async def _gone(store, key: str) -> bool:
    return await store.get(key) == 0
