"""Second factors: enrolled, asked for at login and before what must not be done lightly, and lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.totp import code_at
from api.vault import Vault, VaultKeyMissing
from db.factors import reset_factors
from settings import Profile
from tests.api.books import PASSWORD
from tests.api.conftest import KEY, Api, running
from tests.api.desks import FACTORS, STEP_UP, Desk, now_code, open_desk
from tests.api.people import (
    age_proof,
    enter,
    log_in,
    rewrite,
    rows,
    signed_in,
    step_at,
)


@pytest.fixture
async def desk(api: Api) -> AsyncIterator[Desk]:
    async with open_desk(api) as desk:
        yield desk


async def test_app_is_asked_for_at_login_once_it_is_confirmed(desk: Desk) -> None:
    offered = (await desk.post(f"{FACTORS}/totp", {"label": "phone"})).json()
    assert (await log_in(desk.http, desk.person.username)).status_code == 200

    secret, codes = await desk.enrol_totp()
    assert offered["secret"] != secret.hex()
    assert len(codes) == len(set(codes)) == 10
    awaited = await desk.login_token()
    assert (awaited["kinds"], awaited["recovery_codes_left"], awaited["passkey"]) == (["totp"], 10, None)

    entered = await desk.finish(code=now_code(secret))
    assert entered.status_code == 200, entered.json()
    listed = (await desk.http.get(FACTORS, headers=signed_in(entered.json()))).json()
    assert [(each["kind"], each["label"]) for each in listed["items"]] == [("totp", "phone")]
    sessions = (await desk.http.get("/api/auth/sessions", headers=signed_in(entered.json()))).json()["items"]
    assert next(each["proven_by"] for each in sessions if each["here"]) == "totp"


async def test_first_code_has_to_be_right_and_of_the_app_that_is_being_enrolled(desk: Desk) -> None:
    offered = (await desk.post(f"{FACTORS}/totp", {"label": "phone"})).json()
    wrong = await desk.post(f"{FACTORS}/{offered['id']}/confirm", {"code": "000000"})
    missing = await desk.post(f"{FACTORS}/{desk.person.id}/confirm", {"code": "000000"})

    assert (wrong.status_code, missing.status_code) == (422, 404)
    assert (await log_in(desk.http, desk.person.username)).status_code == 200


async def test_a17_code_is_taken_once_also_by_two_at_once(desk: Desk) -> None:
    secret, _ = await desk.enrol_totp()
    code = now_code(secret)
    tokens = [(await desk.login_token())["login_token"] for _ in range(3)]
    bodies = [{"login_token": token, "code": code} for token in tokens]
    answers = await asyncio.gather(*(desk.http.post("/api/auth/login/factor", json=body) for body in bodies[:2]))
    again = await desk.http.post("/api/auth/login/factor", json=bodies[2])

    assert sorted(answer.status_code for answer in answers) == [200, 401]
    assert (again.status_code, again.json()["code"]) == (401, "factor_invalid")


async def test_a17_code_older_than_the_window_is_refused(desk: Desk) -> None:
    secret, _ = await desk.enrol_totp()
    await rewrite(desk.api.database, "UPDATE factors SET last_step = 0 WHERE user_id = $1", desk.person.id)

    assert (await desk.finish(code=code_at(secret, step_at(time.time()) - 3))).status_code == 401
    assert (await desk.finish(code=now_code(secret))).status_code == 200


async def test_guesses_at_the_code_have_to_wait_like_guesses_at_the_password(desk: Desk) -> None:
    secret, _ = await desk.enrol_totp()
    token = (await desk.login_token())["login_token"]
    body = {"login_token": token, "code": "000000"}
    answers = await asyncio.gather(*(desk.http.post("/api/auth/login/factor", json=body) for _ in range(50)))
    right = await desk.http.post("/api/auth/login/factor", json={**body, "code": now_code(secret)})

    assert {answer.status_code for answer in [*answers, right]} == {401}


async def test_login_token_is_good_for_one_login_and_a_few_minutes(desk: Desk) -> None:
    _, codes = await desk.enrol_totp()
    awaited = await desk.login_token()
    body = {"login_token": awaited["login_token"], "recovery_code": codes[0]}
    first = await desk.http.post("/api/auth/login/factor", json=body)
    second = await desk.http.post("/api/auth/login/factor", json={**body, "recovery_code": codes[1]})
    late = (await desk.login_token())["login_token"]
    await rewrite(desk.api.database, "UPDATE pending_logins SET expires_at = now()")
    third = await desk.http.post("/api/auth/login/factor", json={**body, "login_token": late})

    assert [answer.status_code for answer in (first, second, third)] == [200, 401, 401]
    assert second.json()["code"] == third.json()["code"] == "login_over"


async def test_recovery_code_enters_once_however_it_is_written(desk: Desk) -> None:
    _, codes = await desk.enrol_totp()
    first = await desk.finish(recovery_code=codes[0].replace("-", " ").upper())
    second = await desk.finish(recovery_code=codes[0])
    left = (await desk.login_token())["recovery_codes_left"]

    assert (first.status_code, second.status_code, left) == (200, 401, 9)
    stored = await rows(desk.api.database.engine("owner"), "SELECT code_hash FROM recovery_codes")
    assert not {code.replace("-", "") for code in codes} & {row["code_hash"] for row in stored}
    # Twenty-eight letters of thirty-two are 140 bits.
    assert {len(code.replace("-", "")) for code in codes} == {28}


async def test_new_recovery_codes_take_the_place_of_the_old(desk: Desk) -> None:
    _, codes = await desk.enrol_totp()
    made = await desk.post(f"{FACTORS}/recovery-codes")

    assert made.status_code == 200, made.json()
    assert (await desk.finish(recovery_code=codes[0])).status_code == 401
    assert (await desk.finish(recovery_code=made.json()["recovery_codes"][0])).status_code == 200


async def test_last_factor_takes_the_recovery_codes_with_it(desk: Desk) -> None:
    _, _ = await desk.enrol_totp()
    (factor,) = (await desk.http.get(FACTORS, headers=desk.headers)).json()["items"]
    foreign = await desk.http.delete(f"{FACTORS}/{desk.person.id}", headers=desk.headers)
    removed = await desk.http.delete(f"{FACTORS}/{factor['id']}", headers=desk.headers)

    assert (foreign.status_code, removed.status_code) == (404, 204)
    assert (await log_in(desk.http, desk.person.username)).status_code == 200
    query = "SELECT count(*) AS n FROM recovery_codes WHERE user_id = :id"
    assert (await rows(desk.api.database.engine("owner"), query, id=desk.person.id)) == [{"n": 0}]


async def test_a23_step_up_older_than_five_minutes_is_asked_for_again(desk: Desk) -> None:
    secret, codes = await desk.enrol_totp()
    assert (await desk.post("/api/system/resume", {"reason": "all is well"})).json()["code"] == "not_stopped"
    await age_proof(desk.api.database, desk.person.id)
    late = await desk.post("/api/system/resume", {"reason": "all is well"})
    stepped = await desk.post(STEP_UP, {"code": now_code(secret)})
    again = await desk.post("/api/system/resume", {"reason": "all is well"})

    assert (late.status_code, late.json()["code"]) == (403, "step_up_required")
    assert (stepped.status_code, stepped.json()["proven_by"]) == (200, "totp")
    assert (again.status_code, again.json()["code"]) == (409, "not_stopped")
    assert len(codes) == 10


async def test_a23_a_looser_limit_takes_a_step_up_and_a_tighter_one_does_not(desk: Desk) -> None:
    await desk.enrol_totp()
    await age_proof(desk.api.database, desk.person.id)

    async def put(value: str) -> httpx.Response:
        body = {"account": "second", "value": value, "reason": "a test"}
        return await desk.http.put("/api/trading/limits/price_collar", json=body, headers=desk.headers)

    looser, same = await put("101"), await put("100")
    assert (looser.status_code, looser.json()["code"]) == (403, "step_up_required")
    assert (same.status_code, same.json()["value"]) == (200, "100")


async def test_step_up_by_password_counts_only_without_a_second_factor(desk: Desk) -> None:
    await age_proof(desk.api.database, desk.person.id)
    refused = await desk.post(f"{FACTORS}/totp", {"label": "phone"})
    wrong = await desk.post(STEP_UP, {"password": "wrong"})
    stepped = await desk.post(STEP_UP, {"password": PASSWORD})
    offered = await desk.post(f"{FACTORS}/totp", {"label": "phone"})

    assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")
    assert (wrong.status_code, wrong.json()["code"]) == (403, "proof_invalid")
    assert (stepped.status_code, offered.status_code) == (200, 201)
    await desk.enrol_totp()
    again = await desk.post(STEP_UP, {"password": PASSWORD})
    assert (again.status_code, again.json()["errors"][0]["field"]) == (422, "password")


async def test_session_of_before_the_factor_has_to_step_up(desk: Desk) -> None:
    other = signed_in(await enter(desk.http, desk.person.username))
    await desk.enrol_totp()
    answer = await desk.http.post("/api/system/resume", json={"reason": "all is well"}, headers=other)
    assert (answer.status_code, answer.json()["code"]) == (403, "step_up_required")


async def test_guesses_at_step_up_have_to_wait(desk: Desk) -> None:
    secret, _ = await desk.enrol_totp()
    answers = await asyncio.gather(*(desk.post(STEP_UP, {"code": "000000"}) for _ in range(30)))
    right = await desk.post(STEP_UP, {"code": now_code(secret)})
    assert {answer.status_code for answer in [*answers, right]} == {403}


async def test_without_a_factor_resume_works_embedded_and_takes_one_in_production(desk: Desk) -> None:
    body = {"reason": "all is well"}
    await age_proof(desk.api.database, desk.person.id)
    embedded = await desk.post("/api/system/resume", body)
    async with running(replace(desk.api.settings, profile=Profile.PRODUCTION)) as http:
        production = await http.post("/api/system/resume", json=body, headers=desk.headers)

    assert embedded.json()["code"] == "not_stopped"
    assert (production.status_code, production.json()["code"]) == (403, "factor_required")
    assert "/api/auth/factors/totp" in production.json()["detail"]


@pytest.mark.parametrize(
    "body", [{}, {"code": "123456", "recovery_code": "x"}, {"code": "12345"}, {"code": 123456}]
)
async def test_step_up_takes_exactly_one_proof_of_its_form(desk: Desk, body: dict[str, Any]) -> None:
    assert (await desk.post(STEP_UP, body)).status_code == 422


async def test_secret_of_an_app_is_stored_sealed_and_survives_a_change_of_key(desk: Desk) -> None:
    secret, _ = await desk.enrol_totp()
    query = "SELECT id, secret FROM factors WHERE user_id = :id"
    engine = desk.api.database.engine("owner")
    (before,) = await rows(engine, query, id=desk.person.id)
    assert secret not in before["secret"]

    key = b"another key of thirty-two bytes!"
    changed = replace(desk.api.settings, secret_key=key, secret_key_previous=KEY)
    async with running(changed) as http:
        awaited = (await log_in(http, desk.person.username)).json()
        body = {"login_token": awaited["login_token"], "code": now_code(secret)}
        assert (await http.post("/api/auth/login/factor", json=body)).status_code == 200

    # Its use has sealed it anew, so that the former key may go.
    (after,) = await rows(engine, query, id=desk.person.id)
    assert Vault([key]).open(after["secret"], about=f"factor {after['id']}") == secret


async def test_reset_of_lost_factors_lets_the_password_in_alone(desk: Desk) -> None:
    await desk.enrol_totp()
    async with desk.api.database.engine("owner").begin() as connection:
        assert await reset_factors(connection, desk.person.id, actor="test") == 1
    assert (await log_in(desk.http, desk.person.username)).status_code == 200


def test_vault_opens_what_it_sealed_about_the_same_thing_alone() -> None:
    old, new, both = Vault([KEY]), Vault([b"n" * 32]), Vault([b"n" * 32, KEY])
    sealed = old.seal(b"secret", about="a")

    assert old.open(sealed, about="a") == both.open(sealed, about="a") == b"secret"
    assert (old.outdated(sealed), both.outdated(sealed)) == (False, True)
    assert old.seal(b"secret", about="a") != sealed
    for vault, about, given in (
        (old, "b", sealed),
        (new, "a", sealed),
        (old, "a", sealed[:-1] + b"x"),
        (old, "a", b""),
    ):
        with pytest.raises(VaultKeyMissing):
            vault.open(given, about=about)
