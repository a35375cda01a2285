"""Discrepancies over REST: who sees them, what each decision would do, and who decides, once."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from db.tables import audit_log
from domain.discrepancies import Decision, DiscrepancyState
from domain.reconciliation import Difference, DifferenceKind, Tier
from tests.api.books import id_of, position, show_positions
from tests.api.conftest import Api, bearer, elsewhere, running, silent_server
from tests.api.differing import DIFFERING, balance_gap, booked, order_gap, shown, waiting
from tests.api.test_listings import pages
from tests.api.test_problems import check_problem
from tests.waiting import free_port, until

S = DiscrepancyState


async def decide(
    api: Api, discrepancy_id: UUID, decision: Any = Decision.ACCEPT, *, name: str = "risk", **body: Any
) -> httpx.Response:
    whole = {"client_order_id": "decide-1", "decision": decision, "reason": "told by mail", **body}
    return await api.call(
        name,
        "POST",
        f"{DIFFERING}/{discrepancy_id}/decide",
        json={field: value for field, value in whole.items() if value is not ...},
    )


async def audited(api: Api) -> int:
    async with api.database.engine("owner").connect() as connection:
        return int(await connection.scalar(select(func.count()).select_from(audit_log)) or 0)


async def test_a_discrepancy_shows_both_sides_and_what_each_decision_would_do(api: Api) -> None:
    await show_positions(api.database, position(8001), account="second")
    difference = Difference(
        kind=DifferenceKind.POSITION_UNKNOWN,
        subject="EURUSD #8001",
        symbol="EURUSD",
        number=8001,
        ours=None,
        theirs=Decimal("0.30"),
        impact=Decimal(33_000),
        told="the books have nothing, the broker shows 0.30 long EURUSD at 1.1",
    )
    found = await waiting(api, difference, tier=Tier.STOP)

    told = await shown(api, found)

    assert (told["account"], told["currency"], told["kind"], told["tier"]) == (
        "second",
        "USD",
        "position_unknown",
        "stop",
    )
    assert (told["ours"], told["theirs"], told["impact_usd"]) == (None, "0.30", "33000")
    assert told["evidence"]["told"] == difference.told
    assert told["temporal"] == f"http://temporal.test/namespaces/default/workflows/discrepancy-{found}"
    effects = {effect["decision"]: effect for effect in told["effects"]}
    assert list(effects) == list(Decision)
    assert {name: effect["objection"] for name, effect in effects.items()} == dict.fromkeys(Decision)
    moved = {name: (effect["balance"], effect["lots"], effect["realised"]) for name, effect in effects.items()}
    assert moved == {
        "accept": (None, "0.30", None),
        "adopt": (None, "0.30", None),
        "close": (None, "0", "-3.10"),
        "dispute": (None, None, None),
    }


async def test_a_decision_that_does_not_fit_is_shown_as_such_and_refused(api: Api) -> None:
    found = await waiting(api)
    effects = {effect["decision"]: effect for effect in (await shown(api, found))["effects"]}
    assert "is accepted or disputed" in effects["adopt"]["objection"]

    refused = await decide(api, found, Decision.ADOPT)

    check_problem(refused, status=422, code="decision_refused")
    assert refused.json()["detail"] == effects["adopt"]["objection"]
    assert (await shown(api, found))["state"] == "open"


async def test_what_is_in_motion_is_decided_by_nobody(api: Api) -> None:
    found = await waiting(api, state=S.KEPT_OUT)
    check_problem(await decide(api, found, Decision.ACCEPT), status=422, code="decision_refused")
    assert (await shown(api, found))["state"] == "kept_out"


async def test_what_is_accepted_is_in_the_books_and_a_repeat_changes_nothing(api: Api) -> None:
    before = (await booked(api)).balance
    found = await waiting(api, await balance_gap(api, "250"))
    (effect,) = [each for each in (await shown(api, found))["effects"] if each["decision"] == "accept"]

    accepted = await decide(api, found, Decision.ACCEPT)

    told = accepted.json()
    assert accepted.status_code == 200, told
    assert (told["state"], told["decision"], told["reason"]) == ("accepted", "accept", "told by mail")
    assert told["decided_by"] == f"user:{id_of('risk')}"
    assert (told["effects"], told["ended_at"] is None, told["event_id"] is None) == ([], False, False)
    assert (await booked(api)).balance - before == Decimal(effect["balance"]) == 250
    count = await audited(api)
    for key in ("decide-1", "decide-2"):
        again = await decide(api, found, Decision.ACCEPT, client_order_id=key)
        assert (again.status_code, again.json()) == (200, told)
    assert (await audited(api), (await booked(api)).balance) == (count, before + 250)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("risk", {"decision": "dispute"}),
        ("risk", {"reason": "another reason"}),
        ("admin", {}),
    ],
)
async def test_what_was_decided_otherwise_is_a_conflict(api: Api, name: str, other: dict[str, Any]) -> None:
    found = await waiting(api)
    first = (await decide(api, found, Decision.ACCEPT)).json()

    refused = await decide(api, found, name=name, client_order_id="decide-other", **other)

    check_problem(refused, status=409, code="discrepancy_decided")
    assert await shown(api, found) == first


async def test_a_dispute_leaves_it_waiting_for_the_next_decision(api: Api) -> None:
    found = await waiting(api)
    disputed = (await decide(api, found, Decision.DISPUTE)).json()
    assert (disputed["state"], disputed["ended_at"], len(disputed["effects"])) == ("disputed", None, 4)
    count = await audited(api)
    assert (await decide(api, found, Decision.DISPUTE)).json() == disputed
    assert await audited(api) == count

    # The key is the other person's own.
    accepted = await decide(api, found, Decision.ACCEPT, name="admin")

    assert accepted.status_code == 200, accepted.json()
    assert (accepted.json()["state"], accepted.json()["decided_by"]) == ("accepted", f"user:{id_of('admin')}")


async def test_one_decision_of_several_at_once_is_carried_out(api: Api) -> None:
    found = await waiting(api)
    answers = await asyncio.gather(
        *(
            decide(api, found, name=name, client_order_id=f"decide-{number}", reason=f"reason {number}")
            for number, name in enumerate(("risk", "admin", "risk", "admin"))
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


@pytest.mark.parametrize("name", ["viewer", "trader", "twofold"])
async def test_only_risk_and_admin_decide(api: Api, name: str) -> None:
    found = await waiting(api)
    check_problem(await decide(api, found, Decision.ACCEPT, name=name), status=403, code="role_forbidden")
    assert (await shown(api, found))["state"] == "open"


async def test_users_see_what_differs_on_the_accounts_that_they_trade_on(api: Api) -> None:
    here, there = await waiting(api, account="demo"), await waiting(api)
    for name, visible in (
        ("trader", {here}),
        ("viewer", {here}),
        ("twofold", {here, there}),
        ("homeless", set()),
        ("risk", {here, there}),
    ):
        listed = {UUID(each["id"]) for each in await pages(api, name, f"{DIFFERING}?limit=200")}
        assert listed & {here, there} == visible, name
        for each in (here, there):
            alone = await api.call(name, "GET", f"{DIFFERING}/{each}")
            assert alone.status_code == (200 if each in visible else 404), name
    hidden = await api.call("trader", "GET", f"{DIFFERING}/{there}")
    check_problem(hidden, status=404, code="discrepancy_not_found")
    assert (await pages(api, "trader", f"{DIFFERING}?account=second")) == []


async def test_the_list_is_walked_newest_first_and_each_once(api: Api) -> None:
    found = [str(await waiting(api)) for _ in range(5)]
    walked = await pages(api, "twofold", f"{DIFFERING}?account=second&limit=2")

    ids = [each["id"] for each in walked]
    assert len(set(ids)) == len(ids)
    assert ids[:5] == found[::-1]
    assert {each["account"] for each in walked} == {"second"}


async def test_filters_keep_what_fits(api: Api) -> None:
    open_one, disputed, accepted = [await waiting(api) for _ in range(3)]
    await decide(api, disputed, Decision.DISPUTE)
    await decide(api, accepted, Decision.ACCEPT)
    every = {str(open_one), str(disputed), str(accepted)}

    async def fitting(query: str) -> set[str]:
        return {each["id"] for each in await pages(api, "risk", f"{DIFFERING}?limit=200&{query}")} & every

    assert await fitting("waiting=true") == {str(open_one), str(disputed)}
    assert await fitting("waiting=false") == {str(accepted)}
    assert await fitting("state=disputed") == {str(disputed)}
    assert await fitting("state=accepted&account=second") == {str(accepted)}
    assert await fitting("account=demo") == set()
    assert await fitting("") == every


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"client_order_id": ...}, 400, "client_order_id_missing"),
        ({"decision": "ignore"}, 422, "decision"),
        ({"decision": ...}, 422, "decision"),
        ({"reason": " x "}, 422, "reason"),
        ({"reason": "two\nlines"}, 422, "reason"),
        ({"amount": "1"}, 422, "amount"),
    ],
)
async def test_a_decision_that_makes_no_sense_names_the_field(
    api: Api, body: dict[str, Any], status: int, told: str
) -> None:
    found = await waiting(api)
    answer = await decide(api, found, **body)
    assert answer.status_code == status
    assert told in answer.text
    assert (await shown(api, found))["state"] == "open"


async def test_there_is_nothing_to_decide_where_nothing_was_found(api: Api) -> None:
    check_problem(await decide(api, id_of("missing"), Decision.ACCEPT), status=404, code="discrepancy_not_found")


async def test_the_workflow_of_one_that_was_lost_is_begun_anew_and_ends_with_the_decision(api: Api) -> None:
    found = await waiting(api)
    await decide(api, found, Decision.ACCEPT)
    handle = api.temporal.get_workflow_handle(f"discrepancy-{found}")

    async def over() -> bool:
        described = await handle.describe()
        return described.status is not None and described.status.name == "COMPLETED"

    await until(over, what="the workflow to end")


@pytest.mark.parametrize("silent", [True, False])
async def test_without_the_workflow_server_nothing_is_decided_and_the_same_request_helps_later(
    api: Api, *, silent: bool
) -> None:
    found = await waiting(api, order_gap())
    body = {"client_order_id": "decide-away", "decision": "accept", "reason": "told by mail"}
    with silent_server() as address:
        away = elsewhere(api.settings, address=address if silent else f"127.0.0.1:{free_port()}")
        async with running(away) as http:
            answer = await http.post(f"{DIFFERING}/{found}/decide", json=body, headers=bearer("risk"))

    check_problem(answer, status=503, code="pipeline_unavailable")
    assert (answer.headers["retry-after"], answer.json()["retry"]) == ("1", "after")
    assert answer.elapsed.total_seconds() < 2
    assert (await shown(api, found))["state"] == "open"
    assert (await decide(api, found, Decision.ACCEPT, client_order_id="decide-away")).status_code == 200
