"""Requests signed with an API key: altered, caught, late, from elsewhere or by a dead key worth nothing."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from api.rights import Scope
from db.users import NewUser, Role, set_enabled
from tests.api.conftest import KEY, Api, bearer, order, running
from tests.api.people import add_person, enter, rewrite, rows, signed_in
from tests.api.signing import KEYS, PROFILE, SECRET, Program, add_program, code, trader_on_demo

EXECUTE = "/api/trading/execute"


@pytest.fixture
async def trader(api: Api) -> NewUser:
    return await trader_on_demo(api)


@pytest.fixture
async def bot(api: Api, trader: NewUser) -> Program:
    return await add_program(api.database, trader.id, Scope.READ, Scope.TRADE)


async def test_program_reads_and_trades_in_its_users_name(api: Api, trader: NewUser, bot: Program) -> None:
    read = await bot.call(api.http, "GET", PROFILE)
    placed = await bot.call(api.http, "POST", EXECUTE, order("signed-1"))
    assert (read.status_code, read.json()["id"]) == (200, str(trader.id))
    assert placed.status_code == 201, placed.json()
    listed = await bot.call(api.http, "GET", "/api/trading/trades?limit=5&symbol=EURUSD")
    assert [each["id"] for each in listed.json()["items"]] == [placed.json()["id"]]


async def test_trade_of_a_key_names_it_in_the_audit(api: Api, trader: NewUser, bot: Program) -> None:
    placed = await bot.call(api.http, "POST", EXECUTE, order("signed-2", type="limit", price="1.05000"))
    trade = placed.json()["id"]
    for command, changes in (("modify", {"stop_loss": "1.04000"}), ("cancel", {})):
        path = f"/api/trading/trades/{trade}/{command}"
        answer = await bot.call(api.http, "POST", path, {"client_order_id": command, **changes})
        assert answer.json()["command"]["outcome"] == "done", answer.json()
    query = "SELECT action, key_id FROM audit_log WHERE subject = :subject AND actor = :actor"
    who = {"subject": f"trade:{trade}", "actor": f"user:{trader.id}"}
    said = {each["action"]: each["key_id"] for each in await rows(api.database.engine("owner"), query, **who)}
    for action in ("trade.accepted", "trade.modified", "trade.cancel_done"):
        assert said[action] == str(bot.key_id), action


async def test_stop_by_a_key_names_it_in_each_row_that_it_led_to(api: Api, trader: NewUser, bot: Program) -> None:
    place = {"scope": "user", "scope_id": str(trader.id)}
    body = {"client_order_id": "stop-by-key", "reason": "a test", "wait_ms": 5_000, **place}
    stopped = await bot.call(api.http, "POST", "/api/system/emergency-stop", body)
    assert stopped.status_code == 201, stopped.json()
    await rewrite(api.database, "UPDATE trading_control SET state = 'active', stop_id = NULL")
    await rewrite(api.database, "UPDATE emergency_stops SET resumed_at = now(), ended_at = now()")
    query = "SELECT action, key_id FROM audit_log WHERE subject = :subject"
    said = await rows(api.database.engine("owner"), query, subject=f"stop:{stopped.json()['id']}")
    assert {each["key_id"] for each in said} == {str(bot.key_id)}
    assert "stop.latched" in {each["action"] for each in said}


ALTERED = {
    "body": lambda request: request | {"content": request["content"].replace(b"0.10", b"9.10")},
    "path": lambda request: request | {"target": "/api/trading/preview?dry=1"},
    "path in other letters": lambda request: request | {"target": "/api/trading/%65xecute?dry=1"},
    "query": lambda request: request | {"target": f"{EXECUTE}?dry=2"},
    "no query": lambda request: request | {"target": EXECUTE},
    "method": lambda request: request | {"method": "PUT"},
    "timestamp": lambda request: request | {"timestamp": 1},
    "nonce": lambda request: request | {"X-Nexus-Nonce": "another-nonce"},
    "longer window": lambda request: request | {"X-Nexus-Window": "60000"},
    "key": lambda request: request | {"X-Nexus-Key": str(uuid4())},
    "signature": lambda request: request | {"X-Nexus-Signature": "0" * 64},
}


@pytest.mark.parametrize("part", ALTERED)
async def test_k1_altered_request_is_401_and_nothing_is_sent(api: Api, bot: Program, part: str) -> None:
    sent = len(api.broker.sent)
    built = api.http.build_request("POST", EXECUTE, json=order(f"altered-{part.replace(' ', '-')}"))
    headers = bot.headers("POST", f"{EXECUTE}?dry=1", built.content)
    request = ALTERED[part]({"method": "POST", "target": f"{EXECUTE}?dry=1", "content": built.content, **headers})
    method, target, content = (request.pop(name) for name in ("method", "target", "content"))
    later = request.pop("timestamp", 0)
    request["X-Nexus-Timestamp"] = str(int(request["X-Nexus-Timestamp"]) + later)
    json = {"Content-Type": "application/json"}
    answer = await api.http.request(method, target, content=content, headers={**request, **json})

    # A route that takes no PUT is not asked who calls.
    assert answer.status_code == (405 if part == "method" else 401), answer.text
    assert part == "method" or answer.json()["code"] == "signature_invalid"
    assert len(api.broker.sent) == sent


async def test_k1_signature_for_one_method_is_401_for_another(api: Api, bot: Program) -> None:
    path = f"{KEYS}/{bot.key_id}"
    other = await api.http.request("DELETE", path, headers=bot.headers("GET", path))
    listed = await api.http.request("GET", KEYS, headers=bot.headers("POST", KEYS))
    assert [code(each) for each in (other, listed)] == [(401, "signature_invalid")] * 2


async def test_k2_replayed_nonce_is_401(api: Api, bot: Program) -> None:
    headers = bot.headers("GET", PROFILE)
    first, second = [await api.http.get(PROFILE, headers=headers) for _ in range(2)]
    assert first.status_code == 200
    assert code(second) == (401, "nonce_reused")
    again = await bot.call(api.http, "GET", PROFILE, **{"X-Nexus-Nonce": headers["X-Nexus-Nonce"]})
    assert code(again) == (401, "nonce_reused")


async def test_k2_of_twenty_in_parallel_over_two_processes_one_passes(api: Api, bot: Program) -> None:
    async with running(api.settings) as other:
        for _ in range(3):
            headers = bot.headers("GET", PROFILE)
            answers = await asyncio.gather(
                *(http.get(PROFILE, headers=headers) for http in (api.http, other) * 10)
            )
            assert sorted(answer.status_code for answer in answers) == [200, *[401] * 19]
            assert {each.json()["code"] for each in answers if each.status_code == 401} == {"nonce_reused"}


async def test_k2_refused_signature_uses_up_no_nonce(api: Api, bot: Program) -> None:
    headers = bot.headers("GET", PROFILE)
    forged = await api.http.get(PROFILE, headers={**headers, "X-Nexus-Signature": "0" * 64})
    assert forged.status_code == 401
    assert (await api.http.get(PROFILE, headers=headers)).status_code == 200


async def test_nonces_that_have_expired_are_removed_as_others_come(api: Api, bot: Program) -> None:
    for _ in range(5):
        await bot.call(api.http, "GET", PROFILE)
    expired = "UPDATE api_key_nonces SET expires_at = now() - interval '1 s' WHERE key_id = $1"
    await rewrite(api.database, expired, bot.key_id)
    await bot.call(api.http, "GET", PROFILE)
    await bot.call(api.http, "GET", PROFILE)
    (left,) = await rows(
        api.database.engine("owner"),
        "SELECT count(*) AS n FROM api_key_nonces WHERE key_id = :key_id",
        key_id=bot.key_id,
    )
    assert left["n"] <= 2


@pytest.mark.parametrize("off_ms", [-5_500, 2_000, -86_400_000])
async def test_k3_clock_outside_the_window_is_told_the_servers_time(api: Api, bot: Program, off_ms: int) -> None:
    now = round(time.time() * 1000)
    answer = await bot.call(api.http, "GET", PROFILE, **{"X-Nexus-Timestamp": str(now + off_ms)})
    assert code(answer) == (401, "clock_skew")
    assert 0 <= answer.json()["server_time"] - now < 5_000


async def test_k3_window_may_be_wider_up_to_a_minute(api: Api, bot: Program) -> None:
    late = str(round(time.time() * 1000) - 30_000)
    wide = await bot.call(api.http, "GET", PROFILE, **{"X-Nexus-Timestamp": late, "X-Nexus-Window": "40000"})
    wider = await bot.call(api.http, "GET", PROFILE, **{"X-Nexus-Window": "60001"})
    assert wide.status_code == 200
    assert code(wider) == (401, "signature_malformed")


async def test_k4_key_that_reads_cannot_trade(api: Api, trader: NewUser) -> None:
    reader = await add_program(api.database, trader.id, Scope.READ)
    calm = await add_program(api.database, trader.id, Scope.CANCEL)
    placed = [await each.call(api.http, "POST", EXECUTE, order("k4-reader")) for each in (reader, calm)]
    read = await calm.call(api.http, "GET", PROFILE)
    assert [code(each) for each in (*placed, read)] == [(403, "scope_forbidden")] * 3


async def test_k4_key_does_not_outlive_its_users_role(api: Api) -> None:
    viewer = await add_person(api.database, Role.VIEWER)
    once_trader = await add_program(api.database, viewer.id, Scope.TRADE)
    placed = await once_trader.call(api.http, "POST", EXECUTE, order("k4-viewer"))
    assert code(placed) == (403, "role_forbidden")


async def test_k4_key_is_taken_from_its_networks_alone(api: Api, trader: NewUser) -> None:
    networks = ("192.0.2.0/24", "2001:db8::/32")
    bot = await add_program(api.database, trader.id, Scope.TRADE, Scope.READ, networks=networks)
    for address, status in (
        ("192.0.2.77", 200),
        ("2001:db8:1::1", 200),
        ("::ffff:192.0.2.1", 200),
        ("198.51.100.1", 403),
        ("2001:db9::1", 403),
        ("somewhere", 403),
    ):
        async with api.at(address) as http:
            answer = await bot.call(http, "GET", PROFILE)
            assert answer.status_code == status, address
    async with api.at("198.51.100.1") as http:
        assert code(await bot.call(http, "POST", EXECUTE, order("k4-elsewhere"))) == (403, "address_forbidden")


@pytest.mark.parametrize("path", [PROFILE, EXECUTE])
async def test_k4_key_is_dead_on_the_next_request_everywhere(api: Api, trader: NewUser, path: str) -> None:
    method, body = ("GET", None) if path == PROFILE else ("POST", order("k4-dead"))
    async with running(api.settings) as other:
        revoked, expired, disabled = [
            await add_program(api.database, trader.id, Scope.READ, Scope.TRADE) for _ in range(3)
        ]
        entered = await enter(api.http, trader.username)
        answer = await api.http.delete(f"{KEYS}/{revoked.key_id}", headers=signed_in(entered))
        assert answer.status_code == 204
        again = await api.http.delete(f"{KEYS}/{revoked.key_id}", headers=signed_in(entered))
        assert again.status_code == 204
        over = "UPDATE api_keys SET expires_at = now() WHERE id = $1"
        await rewrite(api.database, over, expired.key_id)
        refused = [await bot.call(other, method, path, body) for bot in (revoked, expired)]

        assert (await disabled.call(other, "GET", PROFILE)).status_code == 200
        async with api.database.engine("owner").begin() as connection:
            await set_enabled(connection, trader.id, enabled=False, actor="test")
        refused.append(await disabled.call(other, method, path, body))
        unknown = Program(key_id=uuid4(), secret=SECRET)
        refused.append(await unknown.call(other, method, path, body))

    told = {(each.status_code, *(each.json()[name] for name in ("code", "detail"))) for each in refused}
    assert len(told) == 1
    assert code(refused[0]) == (401, "signature_invalid")


async def test_secret_is_sealed_anew_while_the_key_of_the_vault_is_changed(api: Api, bot: Program) -> None:
    changed = replace(api.settings, secret_key=b"another key of thirty-two bytes!", secret_key_previous=KEY)
    later = replace(changed, secret_key_previous=None)
    async with running(later) as http:
        assert code(await bot.call(http, "GET", PROFILE)) == (401, "signature_invalid")
    async with running(changed) as http:
        assert (await bot.call(http, "GET", PROFILE)).status_code == 200
    async with running(later) as http:
        assert (await bot.call(http, "GET", PROFILE)).status_code == 200


async def test_use_of_a_key_is_noted(api: Api, trader: NewUser, bot: Program) -> None:
    async with api.at("192.0.2.44") as http:
        await bot.call(http, "GET", PROFILE)
    entered = await enter(api.http, trader.username)
    (listed,) = (await api.http.get(KEYS, headers=signed_in(entered))).json()["items"]
    assert listed["last_address"] == "192.0.2.44"
    assert datetime.now(UTC) - datetime.fromisoformat(listed["last_used_at"]) < timedelta(seconds=10)


async def test_key_that_makes_a_repeat_safe_is_signed_as_well(api: Api, bot: Program) -> None:
    built = api.http.build_request("POST", EXECUTE, json=order(..., wait_ms=0))
    headers = {**bot.headers("POST", EXECUTE, built.content), "Idempotency-Key": "unsigned-1"}
    built.headers.update(headers)
    assert code(await api.http.send(built)) == (400, "idempotency_key_unsigned")


async def test_token_and_signature_at_once_are_refused(api: Api, bot: Program) -> None:
    headers = {**bot.headers("GET", PROFILE), **bearer("trader")}
    assert code(await api.http.get(PROFILE, headers=headers)) == (401, "credentials_ambiguous")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Nexus-Timestamp", "now"),
        ("X-Nexus-Timestamp", "1" * 30),
        ("X-Nexus-Nonce", "short"),
        ("X-Nexus-Nonce", "line%0abreak"),
        ("X-Nexus-Signature", "F" * 64),
        ("X-Nexus-Window", "-1"),
    ],
)
async def test_header_of_another_form_is_named(api: Api, bot: Program, header: str, value: str) -> None:
    answer = await api.http.get(PROFILE, headers={**bot.headers("GET", PROFILE), header: value})
    assert code(answer) == (401, "signature_malformed")
    assert header in answer.json()["detail"]
    assert answer.headers["WWW-Authenticate"] == "Nexus-HMAC-SHA256"


async def test_deadline_that_no_signature_covers_is_refused(api: Api, bot: Program) -> None:
    soon = {"X-Deadline": "2099-01-01T00:00:00Z"}
    assert code(await bot.call(api.http, "GET", PROFILE, **soon)) == (400, "deadline_unsigned")
