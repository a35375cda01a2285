"""`nexus user`: sessions and second factors from the machine, when nobody can log in to mend them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from click.testing import Result
from typer.testing import CliRunner

from api.rights import Scope
from db.factors import NewFactor, add_totp, confirm_totp, set_recovery_codes
from db.login_tries import FREE_BY_NAME, admit
from db.sessions import Credential, NewSession, Proof, begin_session, read_bearer
from db.users import NewUser
from stack.cli import app
from stack.scratch import Database
from tests.api.people import add_person, rows
from tests.api.signing import add_program


@pytest.fixture
async def person(database: Database) -> NewUser:
    return await add_person(database)


async def user(database: Database, *words: str) -> Result:
    environment = {"DATABASE_URL": database.urls["owner"]}
    # The command runs a loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, app, ["user", *words], env=environment)


async def begin(database: Database, person: NewUser) -> Credential:
    session = NewSession(
        id=uuid4(),
        user_id=person.id,
        address="192.0.2.1",
        agent="a browser",
        proven_by=Proof.PASSWORD,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    async with database.engine("api").begin() as connection:
        await begin_session(connection, session, token_hash=uuid4().hex, lasts=timedelta(hours=1))
    return Credential(session_id=session.id, token_hash=uuid4().hex)


async def let_in(database: Database, person: NewUser, credential: Credential) -> bool:
    async with database.engine("api").connect() as connection:
        bearer = await read_bearer(connection, person.id, credential)
    assert bearer is not None
    return bearer.let_in and bearer.user.enabled


async def test_sessions_are_listed_and_ended_one_or_all(database: Database, person: NewUser) -> None:
    first, second = await begin(database, person), await begin(database, person)
    listed = await user(database, "sessions", person.username)
    assert str(first.session_id) in listed.output
    assert "192.0.2.1" in listed.output
    assert "a browser" in listed.output

    ended = await user(database, "end-sessions", person.username, "--session", str(first.session_id))
    assert ended.output == f"ended sessions of {person.username}: 1\n"
    assert [await let_in(database, person, each) for each in (first, second)] == [False, True]
    again = await user(database, "end-sessions", person.username, "--session", str(first.session_id))
    assert "has no session" in str(again.exception)
    assert (await user(database, "end-sessions", person.username)).exit_code == 0
    assert not await let_in(database, person, second)


@pytest.mark.parametrize("command", ["disable", "password"])
async def test_whoever_is_shut_out_or_gets_a_new_password_is_logged_out(
    database: Database, person: NewUser, command: str
) -> None:
    session = await begin(database, person)
    assert (await user(database, command, person.username)).exit_code == 0
    assert (await user(database, "enable", person.username)).exit_code == 0
    assert not await let_in(database, person, session)


async def test_lost_factors_are_listed_and_reset(database: Database, person: NewUser) -> None:
    session, factor = await begin(database, person), uuid4()
    async with database.engine("api").begin() as connection:
        new = NewFactor(id=factor, user_id=person.id, label="lost phone")
        await add_totp(connection, new, secret=b"sealed")
        await confirm_totp(connection, person.id, factor)
        await set_recovery_codes(connection, person.id, ["a", "b"])
    listed = await user(database, "factors", person.username)
    assert str(factor) in listed.output
    assert "lost phone" in listed.output
    assert listed.output.endswith("recovery codes left: 2\n")

    reset = await user(database, "reset-factors", person.username)
    assert reset.output == f"removed factors of {person.username}: 1; their password alone lets them in\n"
    assert not await let_in(database, person, session)
    query = "SELECT (SELECT count(*) FROM factors) + (SELECT count(*) FROM recovery_codes) AS n"
    assert await rows(database.engine("owner"), query) == [{"n": 0}]


async def test_unlock_opens_the_door_wherever_the_tries_came_from(database: Database, person: NewUser) -> None:
    async def tried() -> bool:
        async with database.engine("api").begin() as connection:
            return await admit(connection, username=person.username, address="192.0.2.9") is not None

    assert [await tried() for _ in range(FREE_BY_NAME + 1)] == [True] * FREE_BY_NAME + [False]
    assert (await user(database, "unlock", person.username)).exit_code == 0
    assert await tried()


async def test_keys_are_listed_and_revoked(database: Database, person: NewUser) -> None:
    program = await add_program(database, person.id, Scope.READ, Scope.TRADE, networks=("192.0.2.0/24",))
    listed = await user(database, "keys", person.username)
    for told in (str(program.key_id), "read, trade", "192.0.2.0/24"):
        assert told in listed.output

    for _ in range(2):
        revoked = await user(database, "revoke-key", person.username, str(program.key_id))
        assert revoked.output == f"revoked API key {program.key_id} of {person.username}\n"
    assert not await let_in(database, person, Credential(key_id=program.key_id))
    assert str(program.key_id) not in (await user(database, "keys", person.username)).output
    (told,) = await rows(
        database.engine("owner"), "SELECT actor, detail FROM audit_log WHERE action = 'key.revoked'"
    )
    assert told["detail"]["key"] == str(program.key_id)
    assert told["actor"].startswith("command:")
    other = await user(database, "revoke-key", person.username, str(uuid4()))
    assert "has no API key" in str(other.exception)


@pytest.mark.parametrize("command", ["sessions", "end-sessions", "factors", "reset-factors", "keys", "unlock"])
async def test_unknown_user_is_named(database: Database, command: str) -> None:
    told = await user(database, command, "nobody")
    assert str(told.exception) == "there is no user nobody"
