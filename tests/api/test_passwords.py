"""Passwords: what a new one must be, and what a change of one ends."""

import subprocess
import sys
from textwrap import dedent

import pytest

from stack.state import CHECKOUT
from tests.api.conftest import Api
from tests.api.people import add_person, enter, fresh_address, signed_in

PROFILE = "/api/auth/profile"
PROSE = (
    "Whoever reads this far has found that the lock keeper of the ninth canal paints herons, "
    "in the rain, for a sister who sells old clocks."
)


async def test_password_change_ends_the_other_sessions(api: Api) -> None:
    person = await add_person(api.database)
    here, there = [await enter(api.http, person.username) for _ in range(2)]
    body = {"current_password": "correct horse battery staple", "new_password": "four unlikely birds sang"}
    changed = await api.http.post("/api/auth/password", json=body, headers=signed_in(here))

    assert changed.status_code == 204, changed.text
    alive = [await api.http.get(PROFILE, headers=signed_in(each)) for each in (here, there)]
    assert [answer.status_code for answer in alive] == [200, 401]
    login = {"username": person.username, "password": body["new_password"]}
    assert (await api.http.post("/api/auth/login", json=login)).status_code == 200


async def test_wrong_current_password_changes_nothing(api: Api) -> None:
    async with api.at(fresh_address()) as http:
        entered = await enter(http, (await add_person(api.database)).username)
        body = {"current_password": "wrong", "new_password": "four unlikely birds sang"}
        refused = await http.post("/api/auth/password", json=body, headers=signed_in(entered))
    assert (refused.status_code, refused.json()["code"]) == (403, "proof_invalid")


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "only-fourteen!",
        "x" * 129,
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "123456789987654321",
        "nexus trading password",
        "1qaz2wsx3edc4rfv",
        "correct1correct1",
    ],
)
async def test_a20_weak_password_is_refused_by_its_field(api: Api, password: str) -> None:
    body = {"current_password": "x", "new_password": password}
    answer = await api.call("homeless", "POST", "/api/auth/password", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert [fault["field"] for fault in answer.json()["errors"]] == ["new_password"]


@pytest.mark.parametrize(
    "password",
    [
        PROSE[:64],
        PROSE[:128],
        " leading and trailing ",
        "пятнадцать букв и больше",
        "fifteen 🐎horses",
    ],
)
async def test_a20_long_password_with_spaces_and_unicode_is_kept_as_it_is(api: Api, password: str) -> None:
    person = await add_person(api.database)
    entered = await enter(api.http, person.username)
    body = {"current_password": "correct horse battery staple", "new_password": password}
    changed = await api.http.post("/api/auth/password", json=body, headers=signed_in(entered))
    assert changed.status_code == 204, changed.text

    async with api.at(fresh_address()) as http:
        statuses = {}
        for given in (password, password.strip() + "x", password.upper()):
            login = {"username": person.username, "password": given}
            statuses[given] = (await http.post("/api/auth/login", json=login)).status_code
    assert statuses == {password: 200, password.strip() + "x": 401, password.upper(): 401}


def test_a21_parallel_logins_take_no_more_memory_than_two_at_once() -> None:
    """In a process of its own, whose peak is its own: 64 MiB for each that is checked, two at a time."""
    program = """
        import asyncio, resource
        from api.passwords import Passwords

        async def main():
            passwords = Passwords()
            known = passwords.hash("the right one, which nobody says")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            said = await asyncio.gather(*(passwords.matches("a wrong one", known) for _ in range(12)))
            passwords.close()
            assert not any(said)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

        asyncio.run(main())
    """
    told = subprocess.run(
        [sys.executable, "-c", dedent(program)], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    # The peak already holds the one that was hashed before.
    assert int(told.stdout) < (64 + 32) * 1024
