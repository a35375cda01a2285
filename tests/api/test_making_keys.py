"""API keys made, rotated and revoked by people: what it takes, what they may open, and where the secret stays."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from api.rights import Scope
from db.users import NewUser, Role
from settings import Profile
from tests.api.conftest import Api, running
from tests.api.people import add_person, age_proof, enrol_totp, enter, rows, signed_in
from tests.api.signing import KEYS, PROFILE, Program, add_program, code, trader_on_demo


@pytest.fixture
async def trader(api: Api) -> NewUser:
    return await trader_on_demo(api)


@pytest.fixture
async def bot(api: Api, trader: NewUser) -> Program:
    return await add_program(api.database, trader.id, Scope.READ, Scope.TRADE)


async def make(api: Api, headers: dict[str, str], **body: object) -> httpx.Response:
    return await api.http.post(KEYS, json={"name": f"bot {uuid4().hex[:6]}", **body}, headers=headers)


async def test_k5_secret_is_shown_once_and_stands_in_no_table(api: Api, trader: NewUser) -> None:
    headers = signed_in(await enter(api.http, trader.username))
    made = (await make(api, headers, scopes=["read"])).json()
    rotated = (await api.http.post(f"{KEYS}/{made['id']}/rotate", json={}, headers=headers)).json()
    for each in (made, rotated):
        program = Program(key_id=UUID(each["id"]), secret=each["secret"])
        assert (await program.call(api.http, "GET", PROFILE)).status_code == 200
    listed = await api.http.get(KEYS, headers=headers)
    assert {"secret", "networks"} & set(listed.json()["items"][0]) == {"networks"}
    assert made["secret"] not in listed.text

    tables = await rows(
        api.database.engine("owner"),
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    )
    assert {"public.api_keys", "public.audit_log", "public.events"} <= {each["name"] for each in tables}
    for table in tables:
        for secret in (made["secret"], rotated["secret"]):
            # As a row's text shows it, and as a column of bytes would.
            for form in (secret, secret.encode().hex()):
                (found,) = await rows(
                    api.database.engine("owner"),
                    f"SELECT count(*) AS n FROM {table['name']} t WHERE strpos(t::text, :form) > 0",
                    form=form,
                )
                assert found["n"] == 0, table["name"]


async def test_making_a_key_takes_a_proof_and_is_never_a_keys_own(api: Api, trader: NewUser, bot: Program) -> None:
    headers = signed_in(await enter(api.http, trader.username))
    for request in (("POST", KEYS, {"name": "child"}), ("POST", f"{KEYS}/{bot.key_id}/rotate", {})):
        assert code(await bot.call(api.http, *request)) == (403, "scope_forbidden")
    assert code(await bot.call(api.http, "GET", KEYS)) == (403, "scope_forbidden")
    assert (await make(api, headers)).status_code == 201
    await enrol_totp(api.http, headers, now=time.time())
    assert (await make(api, headers)).status_code == 201
    await age_proof(api.database, trader.id)
    rotated = await api.http.post(f"{KEYS}/{bot.key_id}/rotate", json={}, headers=headers)
    assert [code(each) for each in (await make(api, headers), rotated)] == [(403, "step_up_required")] * 2
    # Whoever has lost a key need not find their phone first.
    assert (await api.http.delete(f"{KEYS}/{bot.key_id}", headers=headers)).status_code == 204


@pytest.mark.parametrize(
    ("role", "scopes", "status"),
    [
        (Role.VIEWER, ["read"], 201),
        (Role.VIEWER, ["read", "trade"], 422),
        (Role.VIEWER, ["cancel"], 422),
        (Role.TRADER, ["read", "trade", "cancel"], 201),
        (Role.TRADER, ["admin"], 422),
        (Role.RISK, ["admin", "trade"], 201),
        (Role.ADMIN, [], 422),
        (Role.ADMIN, ["resume"], 422),
    ],
)
async def test_scope_does_not_exceed_the_users_role(api: Api, role: Role, scopes: list[str], status: int) -> None:
    person = await add_person(api.database, role)
    headers = signed_in(await enter(api.http, person.username))
    answer = await make(api, headers, scopes=scopes)
    assert answer.status_code == status, answer.json()


async def test_new_key_cannot_trade_by_default(api: Api, trader: NewUser) -> None:
    made = await make(api, signed_in(await enter(api.http, trader.username)))
    assert made.json()["scopes"] == ["read"]
    lasts = datetime.fromisoformat(made.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89) < lasts <= timedelta(days=90)


async def test_key_that_trades_is_held_to_networks_in_production(api: Api, trader: NewUser) -> None:
    async with running(replace(api.settings, profile=Profile.PRODUCTION)) as http:
        headers = signed_in(await enter(http, trader.username))
        answers = [
            await http.post(KEYS, json={"name": f"p{number}", **body}, headers=headers)
            for number, body in enumerate(
                (
                    {"scopes": ["trade"]},
                    {"scopes": ["trade"], "networks": ["192.0.2.9/32"]},
                    {"scopes": ["read", "cancel"]},
                    {"scopes": ["read"], "networks": ["192.0.2.9/24"]},
                    {"scopes": ["read"], "networks": [3221226000]},
                )
            )
        ]
    assert [each.status_code for each in answers] == [422, 201, 201, 422, 422]
    assert answers[0].json()["errors"][0]["field"] == "networks"


async def test_two_live_at_most_while_one_is_rotated(api: Api, trader: NewUser) -> None:
    headers = signed_in(await enter(api.http, trader.username))
    first = (await make(api, headers)).json()

    async def rotate(key_id: str, **body: object) -> httpx.Response:
        return await api.http.post(f"{KEYS}/{key_id}/rotate", json=body, headers=headers)

    second = await rotate(first["id"])
    assert second.status_code == 201, second.json()
    assert second.json()["replaces"] == first["id"]
    assert code(await rotate(first["id"])) == (409, "key_rotated")
    assert code(await rotate(second.json()["id"])) == (409, "key_overlap")
    assert code(await rotate(str(uuid4()))) == (404, "key_not_found")
    listed = (await api.http.get(KEYS, headers=headers)).json()["items"]
    old, new = sorted(listed, key=lambda each: each["id"] != first["id"])
    left = datetime.fromisoformat(old["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    assert new["name"] == first["name"]

    assert (await api.http.delete(f"{KEYS}/{first['id']}", headers=headers)).status_code == 204
    third = await rotate(second.json()["id"], overlap_hours=0)
    assert third.status_code == 201
    listed = (await api.http.get(KEYS, headers=headers)).json()["items"]
    assert [each["id"] for each in listed] == [third.json()["id"]]


async def test_of_several_at_once_one_key_is_made_and_one_takes_its_place(api: Api, trader: NewUser) -> None:
    headers = signed_in(await enter(api.http, trader.username))
    made = await asyncio.gather(*(make(api, headers, name="one") for _ in range(8)))
    assert sorted(each.status_code for each in made) == [201, *[409] * 7]
    (key,) = [each.json() for each in made if each.status_code == 201]
    path = f"{KEYS}/{key['id']}/rotate"
    rotated = await asyncio.gather(*(api.http.post(path, json={}, headers=headers) for _ in range(8)))
    assert sorted(each.status_code for each in rotated) == [201, *[409] * 7]
    assert len((await api.http.get(KEYS, headers=headers)).json()["items"]) == 2


async def test_what_a_key_opens_never_changes(api: Api, bot: Program) -> None:
    async with api.database.engine("owner").begin() as connection:
        await connection.exec_driver_sql(f"UPDATE api_keys SET revoked_at = now() WHERE id = '{bot.key_id}'")
    for change in ("revoked_at = NULL", "scopes = '{admin}'", "expires_at = expires_at + interval '1 s'"):
        with pytest.raises(Exception, match=f"API key {bot.key_id}"):
            async with api.database.engine("owner").begin() as connection:
                await connection.exec_driver_sql(f"UPDATE api_keys SET {change} WHERE id = '{bot.key_id}'")
