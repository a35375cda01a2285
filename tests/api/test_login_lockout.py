"""Guessing passwords: how many are ever looked at, and whom the closed door keeps out and whom not."""

import asyncio
import statistics
import time

import httpx
import pytest
from sqlalchemy import text

from api.passwords import Passwords
from db.login_tries import FREE_BY_ADDRESS, FREE_BY_NAME, LONGEST_DELAY_SECONDS, admit, network_of, succeeded
from stack.scratch import Database
from tests.api.books import PASSWORD
from tests.api.conftest import Api, bearer
from tests.api.people import add_person, enter, fresh_address, log_in, rewrite, rows, signed_in

DOOR = "SELECT extract(epoch FROM open_at - tried_at)::int AS delay FROM login_tries WHERE key = :key"


def told(answer: httpx.Response) -> tuple[object, ...]:
    """The answer but for what differs from request to request."""
    body = {**answer.json(), "request_id": ""}
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, tuple(body.items()), tuple(sorted(headers.items()))


async def looked_at(api: Api, username: str) -> int:
    """How many passwords were ever compared for this user: each is recorded after it was."""
    query = "SELECT count(*) AS n FROM audit_log WHERE action = 'login.failed' AND detail ->> 'username' = :name"
    (found,) = await rows(api.database.engine("owner"), query, name=username)
    return int(found["n"])


async def test_200_parallel_wrong_passwords_are_looked_at_only_as_often_as_is_free(api: Api) -> None:
    person = await add_person(api.database)
    async with api.at(fresh_address()) as http:
        answers = await asyncio.gather(
            *(log_in(http, person.username, f"a wrong password, number {n}") for n in range(200))
        )
        assert await looked_at(api, person.username) == FREE_BY_NAME
        right = await log_in(http, person.username)

    assert {told(answer) for answer in [*answers, right]} == {told(answers[0])}
    assert (right.status_code, right.json()["code"]) == (401, "credentials_invalid")
    assert await looked_at(api, person.username) == FREE_BY_NAME


async def test_200_parallel_guesses_at_names_are_looked_at_as_often_as_an_address_has_free(api: Api) -> None:
    people = [await add_person(api.database) for _ in range(40)]
    async with api.at(fresh_address()) as http:
        await asyncio.gather(*(log_in(http, person.username, "wrong") for person in people for _ in range(5)))

    assert sum([await looked_at(api, person.username) for person in people]) == FREE_BY_ADDRESS


async def test_delay_grows_with_each_try_and_has_an_end(api: Api) -> None:
    name, address, delays = "nobody-of-this-name", fresh_address(), []
    engine = api.database.engine("api")
    for _ in range(FREE_BY_NAME + 7):
        async with engine.begin() as connection:
            this = await admit(connection, username=name, address=address)
        assert this is not None
        (door,) = await rows(engine, DOOR, key=this.name_key)
        delays.append(door["delay"])
        await rewrite(api.database, "UPDATE login_tries SET open_at = now() WHERE key = $1", this.name_key)
        await rewrite(api.database, "DELETE FROM login_tries WHERE key = $1", this.address_key)

    assert delays == [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, LONGEST_DELAY_SECONDS, LONGEST_DELAY_SECONDS]


async def test_a18_the_101st_failure_is_throttled_and_the_right_password_enters_after_the_delay(api: Api) -> None:
    person = await add_person(api.database)
    async with api.at(fresh_address()) as guesser:
        for _ in range(101):
            await log_in(guesser, person.username, "wrong")
    assert await looked_at(api, person.username) == FREE_BY_NAME

    async with api.at(fresh_address()) as desk:
        early = await log_in(desk, person.username)
        await rewrite(api.database, "UPDATE login_tries SET open_at = now()")
        late = await log_in(desk, person.username)

    assert (early.status_code, late.status_code) == (401, 200)


async def test_a_success_forgets_the_failures_of_the_name(api: Api) -> None:
    person = await add_person(api.database)
    async with api.at(fresh_address()) as http:
        for _ in range(3):
            answers = [await log_in(http, person.username, "wrong") for _ in range(FREE_BY_NAME - 1)]
            assert {answer.status_code for answer in answers} == {401}
            await enter(http, person.username)


async def test_a_stranger_does_not_shut_a_user_out_of_their_own_desk(api: Api) -> None:
    person = await add_person(api.database)
    async with (
        api.at(fresh_address()) as desk,
        api.at(fresh_address()) as stranger,
    ):
        await enter(desk, person.username)
        for _ in range(2 * FREE_BY_NAME):
            await log_in(stranger, person.username, "wrong")
        from_elsewhere, from_desk = await log_in(stranger, person.username), await log_in(desk, person.username)

    assert (from_elsewhere.status_code, from_desk.status_code) == (401, 200)


async def test_a_closed_door_keeps_nobody_from_stop_cancel_and_close(api: Api) -> None:
    person = await add_person(api.database)
    async with api.at(fresh_address()) as http:
        headers = signed_in(await enter(http, person.username))
        for _ in range(FREE_BY_ADDRESS + FREE_BY_NAME):
            await log_in(http, person.username, "wrong")
        assert (await log_in(http, person.username)).status_code == 401

        stop = {"client_order_id": "locked", "scope": "user", "scope_id": str(person.id), "reason": "locked out"}
        stopped = await http.post("/api/system/emergency-stop", json={**stop, "wait_ms": 0}, headers=headers)
        key = {"client_order_id": "locked"}
        cancelled = await http.post(f"/api/trading/trades/{person.id}/cancel", json=key, headers=headers)
        closed = await http.post("/api/trading/positions/1/close", json=key, headers=headers)

    assert stopped.status_code == 201, stopped.json()
    # They reach the books, which have no such trade and no such position.
    assert (cancelled.json()["code"], closed.json()["code"]) == ("trade_not_found", "position_not_found")


async def test_a19_unknown_known_and_locked_names_take_the_same_time(api: Api) -> None:
    passwords = Passwords()
    hashed = passwords.hash(PASSWORD)
    passwords.close()
    people = [await add_person(api.database, password_hash=hashed) for _ in range(5)]
    address = fresh_address()

    async def seconds(http: httpx.AsyncClient, username: str) -> float:
        await rewrite(api.database, "DELETE FROM login_tries WHERE key = $1", f"address:{address}")
        begun = time.perf_counter()
        assert (await log_in(http, username, "wrong")).status_code == 401
        return time.perf_counter() - begun

    async def ratios(http: httpx.AsyncClient, number: int) -> tuple[float, float]:
        timed = []
        for person in people:
            known, unknown = (
                await seconds(http, person.username),
                await seconds(http, f"x{number}{person.username}"),
            )
            timed.append((known, unknown, await seconds(http, locked.username)))
        known, unknown, closed = (statistics.median(column) for column in zip(*timed, strict=True))
        return unknown / known, closed / known

    async with api.at(address) as http:
        locked = await add_person(api.database, password_hash=hashed)
        for _ in range(FREE_BY_NAME):
            await seconds(http, locked.username)
        # A real difference shows in each round; what a busy machine adds does not.
        rounds = [await ratios(http, number) for number in range(3)]

    assert any(abs(unknown - 1) <= 0.1 for unknown, _ in rounds), rounds
    assert any(abs(closed - 1) <= 0.2 for _, closed in rounds), rounds


async def test_what_was_typed_for_a_name_is_kept_nowhere(api: Api) -> None:
    """People type their password into the field of the name."""
    typed = "hunter2-typed-into-the-wrong-field"
    async with api.at(fresh_address()) as http:
        await log_in(http, typed, "x")

    engine = api.database.engine("owner")
    for table in ("audit_log", "events", "login_tries", "alerts"):
        (found,) = await rows(engine, f"SELECT count(*) AS n FROM {table} t WHERE t::text LIKE '%hunter2%'")
        assert found["n"] == 0, table


async def test_people_are_told_of_a_name_that_is_being_guessed(api: Api) -> None:
    person = await add_person(api.database)
    async with api.at(fresh_address()) as http:
        for _ in range(FREE_BY_NAME + 3):
            await log_in(http, person.username, "wrong")

    query = "SELECT severity, summary FROM alerts WHERE kind = 'login_lockout' AND summary LIKE :name"
    (alert,) = await rows(api.database.engine("owner"), query, name=f"%{person.username}%")
    assert alert["severity"] == "warning"


async def test_old_tries_are_forgotten_after_a_quiet_day(database: Database) -> None:
    engine = database.engine("api")
    async with engine.begin() as connection:
        for _ in range(FREE_BY_NAME):
            this = await admit(connection, username="quiet", address="192.0.2.1")
    assert this is not None
    await rewrite(
        database, "UPDATE login_tries SET tried_at = now() - interval '25 h', open_at = now() - interval '24 h'"
    )
    async with engine.begin() as connection:
        again = await admit(connection, username="quiet", address="192.0.2.1")
        assert again is not None
        assert again.count == 1
        await succeeded(connection, again)
        assert await connection.scalar(text("SELECT count(*) FROM login_tries WHERE key LIKE 'name:%'")) == 0


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_all_addresses_of_a_network_of_ipv6_are_one(address: str, counted_as: str) -> None:
    assert network_of(address) == counted_as


async def test_wrong_passwords_do_not_disturb_who_is_logged_in(api: Api) -> None:
    async with api.at(fresh_address()) as http:
        floods = [log_in(http, f"flood-{n}", "wrong") for n in range(60)]
        read = [http.get("/api/auth/profile", headers=bearer("trader")) for _ in range(20)]
        answers = await asyncio.gather(*floods, *read)

    assert {answer.status_code for answer in answers[60:]} == {200}
    assert {answer.status_code for answer in answers[:60]} <= {401, 503}
