"""Two persons: what is asked by one, carried out by another's word, and by nobody's own."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import IntegrityError

from db.tables import risk_limits
from db.users import Role, set_enabled
from tests.api.books import id_of
from tests.api.conftest import Api, bearer, running
from tests.api.people import add_person, age_proof, enter, rewrite, rows, signed_in

LIMIT = "/api/trading/limits/gross_exposure"
GOLD = {"scope": "symbol", "scope_id": "XAUUSD"}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An installation that asks for two persons, and admins of this test alone: `headers` by name."""

    api: Api
    http: httpx.AsyncClient
    headers: dict[str, dict[str, str]]
    ids: dict[str, UUID]

    async def post(self, who: str, path: str, **body: Any) -> httpx.Response:
        return await self.http.post(path, json=body, headers=self.headers[who])

    async def loosen(self, who: str, **changes: Any) -> httpx.Response:
        body = {"account": "demo", "value": "30000000", "reason": "a wider market", **changes}
        return await self.http.put(LIMIT, json=body, headers=self.headers[who])

    async def limit(self) -> str:
        items = (await self.http.get("/api/trading/limits", headers=self.headers["first"])).json()["items"]
        (found,) = [item for item in items if (item["account"], item["name"]) == ("demo", "gross_exposure")]
        return str(found["value"])

    async def stop(self, who: str, **place: Any) -> httpx.Response:
        body = {"client_order_id": uuid4().hex, "reason": "a test", "wait_ms": 5000, **place}
        return await self.http.post("/api/system/emergency-stop", json=body, headers=self.headers[who])

    async def approve(self, who: str, approval: dict[str, Any]) -> httpx.Response:
        return await self.post(who, f"/api/approvals/{approval['id']}/approve", reason="looked at twice")

    async def control(self) -> list[dict[str, Any]]:
        query = "SELECT state, set_by FROM trading_control WHERE scope = 'symbol' AND scope_id = 'XAUUSD'"
        return await rows(self.api.database.engine("owner"), query)


@pytest.fixture
async def pair(api: Api) -> AsyncIterator[Pair]:
    engine = api.database.engine("owner")
    async with engine.connect() as connection:
        before = [dict(row) for row in (await connection.execute(select(risk_limits))).mappings()]
    people = {"first": Role.ADMIN, "second": Role.ADMIN, "risk": Role.RISK}
    found = {name: await add_person(api.database, role) for name, role in people.items()}
    async with running(replace(api.settings, two_persons=True)) as http:
        headers = {name: signed_in(await enter(http, person.username)) for name, person in found.items()}
        headers |= {name: bearer(name) for name in ("trader", "viewer")}
        ids = {name: person.id for name, person in found.items()}
        yield Pair(api=api, http=http, headers=headers, ids=ids)
    async with engine.begin() as connection:
        await connection.execute(delete(risk_limits))
        await connection.execute(insert(risk_limits), before)
        await connection.execute(text("UPDATE trading_control SET state = 'active', stop_id = NULL"))
        ended = "UPDATE emergency_stops SET resumed_at = now(), ended_at = coalesce(ended_at, now())"
        await connection.execute(text(f"{ended} WHERE resumed_at IS NULL"))


async def test_a_loosening_waits_for_a_second_person_and_is_then_in_force(pair: Pair) -> None:
    before = await pair.limit()
    asked = await pair.loosen("first")

    assert asked.status_code == 202, asked.json()
    waiting = asked.json()
    assert asked.headers["location"] == f"/api/approvals/{waiting['id']}"
    assert (waiting["what"], waiting["state"], waiting["requested_by"]) == (
        "limit",
        "waiting",
        str(pair.ids["first"]),
    )
    assert "gross_exposure" in waiting["summary"]
    assert await pair.limit() == before

    approved = await pair.approve("risk", waiting)
    assert approved.status_code == 200, approved.json()
    assert (approved.json()["state"], approved.json()["decided_by"]) == ("approved", str(pair.ids["risk"]))
    assert await pair.limit() == "30000000"
    query = "SELECT actor, detail FROM audit_log WHERE action = 'limit.set' ORDER BY id DESC LIMIT 1"
    (audited,) = await rows(pair.api.database.engine("owner"), query)
    assert audited["actor"] == f"user:{pair.ids['first']}"
    assert audited["detail"]["approved_by"] == f"user:{pair.ids['risk']}"


async def test_a_tightening_waits_for_nobody(pair: Pair) -> None:
    answer = await pair.loosen("risk", value="10")
    assert (answer.status_code, answer.json()["value"]) == (200, "10")


async def test_narrowing_a_loosening_is_a_tightening_unless_it_is_prolonged(pair: Pair) -> None:
    await pair.approve("second", (await pair.loosen("first", expires_in_s=3600)).json())
    narrowed = await pair.loosen("risk", value="25000000")
    prolonged = await pair.loosen("risk", value="24000000", expires_in_s=7200)
    for_good = await pair.loosen("first", value="24000000", permanent=True)

    assert [answer.status_code for answer in (narrowed, prolonged, for_good)] == [200, 202, 202]


async def test_z3_nobody_decides_what_they_asked_for_not_in_a_second_session_either(pair: Pair) -> None:
    waiting = (await pair.loosen("first")).json()
    own = await rows(
        pair.api.database.engine("owner"), "SELECT username FROM users WHERE id = :id", id=pair.ids["first"]
    )
    again = signed_in(await enter(pair.http, own[0]["username"]))
    path = f"/api/approvals/{waiting['id']}"
    answers = [
        await pair.http.post(f"{path}/{word}", json={"reason": "my own"}, headers=headers)
        for word in ("approve", "refuse")
        for headers in (pair.headers["first"], again)
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "second_person_required")}
    with pytest.raises(IntegrityError, match="second_person"):
        await _decide_as_owner(pair, waiting["id"], pair.ids["first"])
    assert (await pair.approve("second", waiting)).status_code == 200


async def _decide_as_owner(pair: Pair, approval_id: str, decider: UUID) -> None:
    statement = "UPDATE approvals SET state = 'approved', decided_by = :by, decided_at = now() WHERE id = :id"
    async with pair.api.database.engine("owner").begin() as connection:
        await connection.execute(text(statement), {"by": decider, "id": UUID(approval_id)})


async def test_resume_after_a_critical_stop_takes_two(pair: Pair) -> None:
    await pair.stop("risk", **GOLD)
    body = {"reason": "all is well", **GOLD}
    below = await pair.post("risk", "/api/system/resume", **body)
    asked, repeated = [await pair.post("first", "/api/system/resume", **body) for _ in range(2)]

    assert (below.status_code, below.json()["code"]) == (403, "role_forbidden")
    assert (asked.status_code, repeated.status_code) == (202, 202)
    assert asked.json()["id"] == repeated.json()["id"]
    assert [row["state"] for row in await pair.control()] == ["halted"]

    approved = await pair.approve("risk", asked.json())
    assert approved.status_code == 200, approved.json()
    assert await pair.control() == [{"state": "active", "set_by": f"user:{pair.ids['first']}"}]
    assert (await pair.approve("risk", asked.json())).json()["state"] == "approved"


async def test_a_traders_own_stop_is_ended_by_one_person(pair: Pair) -> None:
    place = {"scope": "user", "scope_id": str(id_of("trader"))}
    await pair.stop("trader", **place)
    answer = await pair.post("risk", "/api/system/resume", reason="all is well", **place)
    assert (answer.status_code, answer.json()["state"]) == (200, "active")


async def test_what_cannot_be_carried_out_goes_on_waiting_and_the_answer_says_why(pair: Pair) -> None:
    await pair.stop("risk", **GOLD)
    asked = (await pair.post("first", "/api/system/resume", reason="all is well", **GOLD)).json()
    await rewrite(pair.api.database, "UPDATE emergency_stops SET ended_at = NULL WHERE resumed_at IS NULL")
    refused = await pair.approve("second", asked)
    await rewrite(pair.api.database, "UPDATE emergency_stops SET ended_at = now() WHERE ended_at IS NULL")

    assert (refused.status_code, refused.json()["code"]) == (409, "cause_remains")
    assert (await pair.approve("second", asked)).status_code == 200


async def test_of_two_words_at_once_one_is_carried_out(pair: Pair) -> None:
    waiting = (await pair.loosen("first")).json()
    path = f"/api/approvals/{waiting['id']}"
    answers = await asyncio.gather(
        *(
            pair.post(who, f"{path}/{word}", reason="now")
            for who in ("second", "risk")
            for word in ("approve", "refuse")
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    carried_out = await pair.limit() == "30000000"
    final = (await pair.http.get(path, headers=pair.headers["second"])).json()["state"]
    assert final == ("approved" if carried_out else "refused")


async def test_refused_is_refused_and_may_be_asked_for_again(pair: Pair) -> None:
    waiting = (await pair.loosen("first")).json()
    refused = await pair.post("second", f"/api/approvals/{waiting['id']}/refuse", reason="not today")
    late = await pair.approve("risk", waiting)
    again = (await pair.loosen("first")).json()

    assert (refused.json()["state"], refused.json()["reason"]) == ("refused", "not today")
    assert (late.status_code, late.json()["code"]) == (409, "approval_decided")
    assert again["id"] != waiting["id"]


async def test_word_that_comes_too_late_does_nothing(pair: Pair) -> None:
    waiting = (await pair.loosen("first")).json()
    await rewrite(pair.api.database, "UPDATE approvals SET expires_at = now() WHERE id = $1", UUID(waiting["id"]))
    late = await pair.approve("second", waiting)
    shown = (await pair.http.get(f"/api/approvals/{waiting['id']}", headers=pair.headers["second"])).json()

    assert (late.status_code, late.json()["code"]) == (409, "approval_expired")
    assert shown["state"] == "expired"


async def test_nothing_is_carried_out_for_whoever_may_no_longer_ask(pair: Pair) -> None:
    waiting = (await pair.loosen("first")).json()
    async with pair.api.database.engine("owner").begin() as connection:
        await set_enabled(connection, pair.ids["first"], enabled=False, actor="test")
    refused = await pair.approve("second", waiting)
    assert (refused.status_code, refused.json()["code"]) == (409, "requester_forbidden")


async def test_second_person_has_to_step_up_as_well(pair: Pair) -> None:
    waiting = (await pair.loosen("first")).json()
    offered = await pair.post("second", "/api/auth/factors/totp", label="phone")
    confirmed = "UPDATE factors SET confirmed_at = now() WHERE id = $1"
    await rewrite(pair.api.database, confirmed, UUID(offered.json()["id"]))
    await age_proof(pair.api.database, pair.ids["second"])
    refused = await pair.approve("second", waiting)
    assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")


async def test_list_shows_what_waits_to_risk_and_admin_alone(pair: Pair) -> None:
    waiting = (await pair.loosen("first")).json()
    for who, status in (("second", 200), ("risk", 200), ("trader", 403), ("viewer", 403)):
        answer = await pair.http.get("/api/approvals?waiting=true", headers=pair.headers[who])
        assert answer.status_code == status, who
        assert status != 200 or answer.json()["items"][0]["id"] == waiting["id"]
    missing = await pair.approve("second", {"id": str(uuid4())})
    assert (missing.status_code, missing.json()["code"]) == (404, "approval_not_found")


async def test_without_two_persons_one_is_enough(pair: Pair) -> None:
    body = {"account": "demo", "value": "30000000", "reason": "a wider market"}
    answer = await pair.api.http.put(LIMIT, json=body, headers=pair.headers["first"])
    assert (answer.status_code, answer.json()["value"]) == (200, "30000000")
