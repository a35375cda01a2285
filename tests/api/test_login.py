"""Logging in: who gets a token, and what an attacker can learn."""

import statistics
import time

from sqlalchemy import select

from api.passwords import Passwords
from db.tables import audit_log
from db.users import NewUser, Role, add_user, find_credentials, list_users, set_enabled, set_password_hash
from stack.scratch import Database
from tests.api.books import PASSWORD, id_of
from tests.api.conftest import Api


async def test_login_gives_a_token_that_works(api: Api) -> None:
    answer = await api.call(None, "POST", "/api/auth/login", json={"username": "trader", "password": PASSWORD})

    assert answer.status_code == 200, answer.json()
    token = answer.json()["access_token"]
    assert 890 <= answer.json()["expires_in"] <= 900
    profile = await api.http.get("/api/auth/profile", headers={"Authorization": f"Bearer {token}"})
    assert (profile.json()["username"], profile.json()["role"]) == ("trader", "trader")


async def test_wrong_password_unknown_and_disabled_user_get_the_same_answer(api: Api) -> None:
    answers = [
        await api.call(None, "POST", "/api/auth/login", json={"username": name, "password": password})
        for name, password in (("trader", "wrong"), ("nobody", PASSWORD), ("gone", PASSWORD))
    ]

    told = [{**answer.json(), "request_id": ""} for answer in answers]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert told[0] == told[1] == told[2]
    assert told[0]["code"] == "credentials_invalid"


async def test_unknown_user_takes_the_time_of_a_known_one() -> None:
    passwords = Passwords()
    known = passwords.hash("secret")

    async def seconds(password_hash: str | None) -> float:
        begun = time.perf_counter()
        assert not await passwords.matches("guess", password_hash)
        return time.perf_counter() - begun

    pairs = [(await seconds(known), await seconds(None)) for _ in range(3)]
    passwords.close()
    ratio = statistics.median(of_known for of_known, _ in pairs) / statistics.median(other for _, other in pairs)
    assert 0.5 < ratio < 2


async def test_hash_is_argon2id_at_the_chosen_cost_and_its_own_each_time() -> None:
    passwords = Passwords()
    first, second = passwords.hash("pässwörd with spaces"), passwords.hash("pässwörd with spaces")

    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert first != second
    assert await passwords.matches("pässwörd with spaces", first)
    assert not await passwords.matches("pässwörd with spaces", "no hash")
    passwords.close()


async def test_missing_and_malformed_authorization_is_401(api: Api) -> None:
    for headers in ({}, {"Authorization": "Basic dHJhZGVyOng="}, {"Authorization": "Bearer"}):
        answer = await api.http.get("/api/auth/profile", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_disabled_user_loses_access_with_the_next_request(api: Api) -> None:
    engine = api.database.engine("owner")
    assert (await api.call("risk", "GET", "/api/auth/profile")).status_code == 200
    async with engine.begin() as connection:
        await set_enabled(connection, id_of("risk"), enabled=False, actor="test")
    refused = await api.call("risk", "GET", "/api/auth/profile")
    async with engine.begin() as connection:
        await set_enabled(connection, id_of("risk"), enabled=True, actor="test")

    assert refused.status_code == 401
    assert (await api.call("risk", "GET", "/api/auth/profile")).status_code == 200


async def test_each_change_of_a_user_writes_its_audit_row(database: Database) -> None:
    new = NewUser(id=id_of("new"), username="new", password_hash="first", role=Role.TRADER)
    async with database.engine().begin() as connection:
        assert await add_user(connection, new, actor="admin")
        assert not await add_user(
            connection,
            NewUser(id=id_of("twin"), username="new", password_hash="x", role=Role.ADMIN),
            actor="admin",
        )
        assert await set_password_hash(connection, new.id, "second", actor="admin")
        assert await set_enabled(connection, new.id, enabled=False, actor="admin")
        assert not await set_enabled(connection, id_of("twin"), enabled=True, actor="admin")

    async with database.engine("api").connect() as connection:
        found = await find_credentials(connection, "new")
        actions = await connection.scalars(select(audit_log.c.action).order_by(audit_log.c.id))
        assert [user.username for user in await list_users(connection)] == ["new"]
        assert list(actions) == ["user.added", "user.password_set", "user.disabled"]
    assert found is not None
    assert (found[0].enabled, found[1]) == (False, "second")
