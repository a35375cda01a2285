"""Sessions: renewed, ended and listed, and what a token that was taken back still opens."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, event

from api.tokens import Tokens, digest
from db.sessions import EndCause, end_sessions
from db.users import Role, set_enabled
from stack.scratch import Database
from tests.api.conftest import KEY, TTL, Api, order, running
from tests.api.people import add_person, enter, rewrite, rows, signed_in

PROFILE = "/api/auth/profile"
UNUSED = "SELECT token_hash FROM refresh_tokens WHERE session_id = :session_id AND used_at IS NULL"


async def renew(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/api/auth/refresh", json={"refresh_token": token})


async def lost_long_ago(database: Database, token: str) -> None:
    """Let it be eleven seconds since the token was used."""
    used = "UPDATE refresh_tokens SET used_at = used_at - interval '11 s' WHERE token_hash = $1"
    await rewrite(database, used, digest(token))


async def test_refresh_gives_a_new_pair_and_keeps_the_session(api: Api) -> None:
    first = await enter(api.http, (await add_person(api.database)).username)
    answer = await renew(api.http, first["refresh_token"])

    assert answer.status_code == 200, answer.json()
    second = answer.json()
    assert second["session_id"] == first["session_id"]
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert (await api.http.get(PROFILE, headers=signed_in(second))).status_code == 200
    assert 890 <= second["expires_in"] <= 900


async def test_no_token_is_stored_in_clear(api: Api) -> None:
    entered = await enter(api.http, (await add_person(api.database)).username)
    renewed = (await renew(api.http, entered["refresh_token"])).json()
    await api.http.post("/api/auth/logout", headers=signed_in(renewed))

    engine = api.database.engine("owner")
    for table in ("refresh_tokens", "revoked_tokens", "sessions", "audit_log", "events"):
        for secret in (entered["refresh_token"], renewed["refresh_token"], renewed["access_token"]):
            (found,) = await rows(
                engine,
                f"SELECT count(*) AS n FROM {table} t WHERE t::text LIKE '%' || :secret || '%'",
                secret=secret,
            )
            assert found["n"] == 0, table
    (stored,) = await rows(
        engine,
        "SELECT token_hash FROM refresh_tokens WHERE token_hash = :hash",
        hash=digest(renewed["refresh_token"]),
    )
    assert len(stored["token_hash"]) == 64


async def test_a14_retry_within_ten_seconds_gets_the_same_successor(api: Api) -> None:
    entered = await enter(api.http, (await add_person(api.database)).username)
    first, second = [await renew(api.http, entered["refresh_token"]) for _ in range(2)]

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["refresh_token"] == second.json()["refresh_token"]
    assert (await renew(api.http, second.json()["refresh_token"])).status_code == 200


async def test_a14_reuse_after_that_ends_the_family_and_is_an_alert(api: Api) -> None:
    person = await add_person(api.database)
    entered = await enter(api.http, person.username)
    renewed = (await renew(api.http, entered["refresh_token"])).json()
    await lost_long_ago(api.database, entered["refresh_token"])

    reused = await renew(api.http, entered["refresh_token"])
    successor = await renew(api.http, renewed["refresh_token"])
    access = await api.http.get(PROFILE, headers=signed_in(renewed))

    assert [answer.status_code for answer in (reused, successor, access)] == [401, 401, 401]
    assert reused.json()["code"] == successor.json()["code"] == "refresh_token_invalid"
    engine = api.database.engine("owner")
    (alert,) = await rows(
        engine,
        "SELECT severity, summary FROM alerts WHERE key = :key",
        key=f"refresh_token_reused:{entered['session_id']}",
    )
    assert alert["severity"] == "critical"
    assert person.username in alert["summary"]
    (ended,) = await rows(engine, "SELECT end_cause FROM sessions WHERE id = :id", id=UUID(entered["session_id"]))
    assert ended["end_cause"] == EndCause.REUSE


async def test_a14_token_before_the_last_one_is_reuse_even_at_once(api: Api) -> None:
    entered = await enter(api.http, (await add_person(api.database)).username)
    second = (await renew(api.http, entered["refresh_token"])).json()
    third = (await renew(api.http, second["refresh_token"])).json()

    assert (await renew(api.http, entered["refresh_token"])).status_code == 401
    assert (await renew(api.http, third["refresh_token"])).status_code == 401


async def test_a15_two_concurrent_refreshes_leave_exactly_one_member_of_the_family_alive(api: Api) -> None:
    person = await add_person(api.database)
    async with running(api.settings) as other:
        for _ in range(10):
            entered = await enter(api.http, person.username)
            answers = await asyncio.gather(
                *(renew(http, entered["refresh_token"]) for http in (api.http, other) * 4)
            )
            assert {answer.status_code for answer in answers} == {200}
            (successor,) = {answer.json()["refresh_token"] for answer in answers}
            alive = await rows(api.database.engine("owner"), UNUSED, session_id=UUID(entered["session_id"]))
            assert [row["token_hash"] for row in alive] == [digest(successor)]


async def test_a13_each_token_is_refused_in_the_place_of_the_other(api: Api) -> None:
    entered = await enter(api.http, (await add_person(api.database)).username)
    access_as_refresh = await renew(api.http, entered["access_token"])
    refresh_as_access = await api.http.get(
        PROFILE, headers={"Authorization": f"Bearer {entered['refresh_token']}"}
    )

    assert (access_as_refresh.status_code, access_as_refresh.json()["code"]) == (401, "refresh_token_invalid")
    assert (refresh_as_access.status_code, refresh_as_access.json()["code"]) == (401, "token_invalid")


async def test_logout_is_felt_by_the_next_request_on_every_process(api: Api) -> None:
    entered = await enter(api.http, (await add_person(api.database)).username)
    async with running(api.settings) as other:
        assert (await other.get(PROFILE, headers=signed_in(entered))).status_code == 200
        assert (await api.http.post("/api/auth/logout", headers=signed_in(entered))).status_code == 204

        read = await other.get(PROFILE, headers=signed_in(entered))
        placed = await other.post("/api/trading/execute", json=order("logged-out"), headers=signed_in(entered))
        renewed = await renew(other, entered["refresh_token"])

    assert (read.status_code, placed.status_code, renewed.status_code) == (401, 401, 401)
    assert placed.json()["code"] == "token_invalid"


async def test_an_order_asks_who_sends_it_in_the_statement_that_reads_the_rest(api: Api) -> None:
    said: list[str] = []

    def note(connection: Any, _: Any, statement: str, *__: Any) -> None:
        if connection.engine.url.username == "nexus_api":
            said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        answer = await api.execute(order("one-round-trip"))
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert answer.status_code == 201, answer.json()
    assert ["lets_in(" in statement for statement in said] == [True, False]


async def test_one_token_can_be_taken_back_while_its_session_goes_on(api: Api) -> None:
    entered = await enter(api.http, (await add_person(api.database)).username)
    renewed = (await renew(api.http, entered["refresh_token"])).json()
    claims = Tokens([KEY], ttl=TTL).verify(entered["access_token"], now=datetime.now(UTC))
    revoke = "INSERT INTO revoked_tokens (token_hash, user_id, expires_at) VALUES ($1, $2, now() + interval '1 h')"
    await rewrite(api.database, revoke, claims.token_hash, claims.user_id)

    old = await api.http.get(PROFILE, headers=signed_in(entered))
    bought = await api.http.post("/api/trading/execute", json=order("taken-back"), headers=signed_in(entered))
    new = await api.http.get(PROFILE, headers=signed_in(renewed))
    assert (old.status_code, bought.status_code, new.status_code) == (401, 401, 200)


async def test_a16_disabled_user_loses_access_with_the_next_request(api: Api) -> None:
    person = await add_person(api.database)
    entered = await enter(api.http, person.username)
    engine = api.database.engine("owner")
    async with engine.begin() as connection:
        await set_enabled(connection, person.id, enabled=False, actor="test")

    read = await api.http.get(PROFILE, headers=signed_in(entered))
    placed = await api.http.post("/api/trading/execute", json=order("disabled"), headers=signed_in(entered))
    renewed = await renew(api.http, entered["refresh_token"])
    assert (read.status_code, placed.status_code, renewed.status_code) == (401, 401, 401)


async def test_user_lists_and_ends_their_own_sessions_alone(api: Api) -> None:
    person, other = await add_person(api.database), await add_person(api.database)
    here, there, elsewhere = [await enter(api.http, person.username) for _ in range(3)]
    foreign = await enter(api.http, other.username)

    listed = (await api.http.get("/api/auth/sessions", headers=signed_in(here))).json()["items"]
    assert {each["id"]: each["here"] for each in listed} == {
        here["session_id"]: True,
        there["session_id"]: False,
        elsewhere["session_id"]: False,
    }
    assert listed[0]["address"] == "127.0.0.1"
    assert listed[0]["agent"].startswith("python-httpx")

    paths = [f"/api/auth/sessions/{each['session_id']}" for each in (there, there, foreign)]
    answers = [await api.http.delete(path, headers=signed_in(here)) for path in paths]
    assert [answer.status_code for answer in answers] == [204, 404, 404]
    assert answers[1].json()["code"] == answers[2].json()["code"] == "session_not_found"

    rest = await api.http.delete("/api/auth/sessions", headers=signed_in(here))
    assert rest.json() == {"ended": 1}
    alive = [await api.http.get(PROFILE, headers=signed_in(each)) for each in (here, there, elsewhere, foreign)]
    assert [answer.status_code for answer in alive] == [200, 401, 401, 200]


async def test_session_ends_with_its_time_however_often_it_is_renewed(api: Api) -> None:
    entered = await enter(api.http, (await add_person(api.database)).username)
    over = "UPDATE sessions SET expires_at = now() WHERE id = $1"
    await rewrite(api.database, over, UUID(entered["session_id"]))

    assert (await api.http.get(PROFILE, headers=signed_in(entered))).status_code == 401
    assert (await renew(api.http, entered["refresh_token"])).status_code == 401


async def test_session_that_nobody_used_for_long_cannot_be_renewed(api: Api) -> None:
    entered = await enter(api.http, (await add_person(api.database)).username)
    idle = "UPDATE refresh_tokens SET expires_at = now() WHERE token_hash = $1"
    await rewrite(api.database, idle, digest(entered["refresh_token"]))

    assert (await renew(api.http, entered["refresh_token"])).status_code == 401
    listed = await api.http.get("/api/auth/sessions", headers=signed_in(entered))
    assert listed.json()["items"] == []


async def test_key_is_changed_while_people_stay_logged_in(api: Api) -> None:
    """The new key signs, the one before it is believed; once that is gone, so are its tokens."""
    person = await add_person(api.database)
    old = await enter(api.http, person.username)
    changed = replace(api.settings, secret_key=b"another key of thirty-two bytes!", secret_key_previous=KEY)
    async with running(changed) as http, running(replace(changed, secret_key_previous=None)) as later:
        assert (await http.get(PROFILE, headers=signed_in(old))).status_code == 200
        first = (await renew(http, old["refresh_token"])).json()
        assert (await api.http.get(PROFILE, headers=signed_in(first))).status_code == 401
        statuses = [(await later.get(PROFILE, headers=signed_in(each))).status_code for each in (old, first)]

    assert statuses == [401, 200]


async def test_answer_that_was_lost_while_the_key_changed_is_given_again(api: Api) -> None:
    entered = await enter(api.http, (await add_person(api.database)).username)
    lost = (await renew(api.http, entered["refresh_token"])).json()
    changed = replace(api.settings, secret_key=b"another key of thirty-two bytes!", secret_key_previous=KEY)
    async with running(changed) as http:
        again = (await renew(http, entered["refresh_token"])).json()
    assert again["refresh_token"] == lost["refresh_token"]


async def test_ended_sessions_stay_ended_whatever_the_code_says(api: Api) -> None:
    person = await add_person(api.database)
    entered = await enter(api.http, person.username)
    engine = api.database.engine("api")
    async with engine.begin() as connection:
        assert await end_sessions(connection, person.id, cause=EndCause.ENDED, actor="test") == 1
        assert await end_sessions(connection, person.id, cause=EndCause.ENDED, actor="test") == 0

    async def revive(column: str) -> Any:
        async with api.database.engine("owner").begin() as connection:
            return await connection.exec_driver_sql(
                f"UPDATE sessions SET {column} WHERE id = '{entered['session_id']}'"
            )

    with pytest.raises(Exception, match="is over"):
        await revive("ended_at = NULL, end_cause = NULL")


async def test_profile_says_who_one_is(api: Api) -> None:
    person = await add_person(api.database, Role.RISK)
    entered = await enter(api.http, person.username)
    assert (entered["user"]["role"], entered["token_type"]) == ("risk", "bearer")
    assert timedelta(seconds=entered["expires_in"]) <= TTL
