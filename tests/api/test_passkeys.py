"""Passkeys: what a browser may send, and everything about it that may be wrong."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.api.authenticator import Authenticator, decoded, encoded
from tests.api.conftest import Api, running
from tests.api.desks import FACTORS, STEP_UP, Desk, open_desk
from tests.api.people import rewrite


@pytest.fixture
async def desk(api: Api) -> AsyncIterator[Desk]:
    async with open_desk(api) as desk:
        yield desk


async def test_passkey_enters_and_each_challenge_counts_once(desk: Desk) -> None:
    key = Authenticator()
    added = await desk.enrol_passkey(key)
    assert added.status_code == 201, added.json()
    awaited = await desk.login_token()
    assertion = key.sign(awaited["passkey"])
    entered = await desk.http.post(
        "/api/auth/login/factor", json={"login_token": awaited["login_token"], "assertion": assertion}
    )

    assert entered.status_code == 200, entered.json()
    assert (await desk.finish(assertion=assertion)).status_code == 401


WRONG: dict[str, Callable[[Authenticator, dict[str, Any], dict[str, Any]], dict[str, Any]]] = {
    "a wrong origin": lambda key, asked, _: replaced(key, asked, origin="https://desk.test.evil.example"),
    "no verification of the user": lambda key, asked, _: replaced(key, asked, verifies=False),
    "a replayed challenge": lambda key, _, earlier: key.sign(earlier),
    "a counter that stands still": lambda key, asked, _: replaced(key, asked, count=key.count - 1),
    "a lower counter": lambda key, asked, _: replaced(key, asked, count=-1),
    "another relying party": lambda key, asked, _: key.sign({**asked, "rpId": "evil.example"}),
    "a challenge of nobody's": lambda key, asked, _: key.sign({**asked, "challenge": encoded(b"x" * 32)}),
    "another key": lambda key, asked, _: {**Authenticator().sign(asked), "id": encoded(key.credential_id)},
    "an altered signature": lambda key, asked, _: altered(key.sign(asked)),
    "nothing of a passkey": lambda key, _, __: {"id": encoded(key.credential_id), "response": []},
    "no client data": lambda key, _, __: {"id": encoded(key.credential_id), "response": {"clientDataJSON": "?"}},
}


def replaced(key: Authenticator, asked: dict[str, Any], **changes: Any) -> dict[str, Any]:
    before = {name: getattr(key, name) for name in changes}
    for name, value in changes.items():
        setattr(key, name, value)
    signed = key.sign(asked)
    for name, value in before.items():
        setattr(key, name, value)
    return signed


def altered(assertion: dict[str, Any]) -> dict[str, Any]:
    signature = bytearray(decoded(assertion["response"]["signature"]))
    signature[-1] ^= 1
    return {**assertion, "response": {**assertion["response"], "signature": encoded(bytes(signature))}}


@pytest.mark.parametrize("forge", WRONG.values(), ids=WRONG.keys())
async def test_a22_forged_assertion_is_refused(
    desk: Desk, forge: Callable[[Authenticator, dict[str, Any], dict[str, Any]], dict[str, Any]]
) -> None:
    key = Authenticator()
    await desk.enrol_passkey(key)
    earlier = await desk.login_token()
    body = {"login_token": earlier["login_token"], "assertion": key.sign(earlier["passkey"])}
    assert (await desk.http.post("/api/auth/login/factor", json=body)).status_code == 200

    awaited = await desk.login_token()
    body = {"login_token": awaited["login_token"], "assertion": forge(key, awaited["passkey"], earlier["passkey"])}
    forged = await desk.http.post("/api/auth/login/factor", json=body)
    assert (forged.status_code, forged.json()["code"]) == (401, "factor_invalid"), forged.json()


async def test_challenge_is_good_for_its_user_its_purpose_and_two_minutes(desk: Desk) -> None:
    key = Authenticator()
    await desk.enrol_passkey(key)
    enrolling = (await desk.post(f"{FACTORS}/webauthn/options")).json()["passkey"]
    for_enrolment = key.sign({"rpId": "desk.test", "challenge": enrolling["challenge"]})
    asked = (await desk.post(f"{STEP_UP}/passkey")).json()["passkey"]
    await rewrite(desk.api.database, "UPDATE webauthn_challenges SET expires_at = now()")
    late = key.sign(asked)

    assert [(await desk.post(STEP_UP, {"assertion": each})).status_code for each in (for_enrolment, late)] == [
        403,
        403,
    ]


@pytest.mark.parametrize("changes", [{"origin": "https://evil.example"}, {"verifies": False}])
async def test_passkey_of_another_origin_or_without_verification_is_not_enrolled(
    desk: Desk, changes: dict[str, Any]
) -> None:
    refused = await desk.enrol_passkey(Authenticator(**changes))
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "credential")


async def test_passkey_is_enrolled_once(desk: Desk) -> None:
    key = Authenticator()
    first, second = await desk.enrol_passkey(key), await desk.enrol_passkey(key)
    assert (first.status_code, second.status_code) == (201, 409)
    assert len(first.json()["recovery_codes"]) == 10


async def test_without_an_origin_there_are_no_passkeys_and_the_answer_names_the_setting(desk: Desk) -> None:
    async with running(replace(desk.api.settings, webauthn_origin=None)) as http:
        answer = await http.post(f"{FACTORS}/webauthn/options", headers=desk.headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "passkeys_unavailable")
    assert "WEBAUTHN_ORIGIN" in answer.json()["detail"]
