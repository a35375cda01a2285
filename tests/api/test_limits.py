"""Limits over REST: who sees them, who changes them, how long a change holds, and what is refused."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, func, insert, select, text

from api.app import create_app
from db.tables import audit_log, risk_limits
from tests.api.books import id_of
from tests.api.conftest import Api
from tests.api.test_listings import pages
from tests.api.test_problems import check_problem

PATH = "/api/trading/limits"


@pytest.fixture(autouse=True)
async def untouched(api: Api) -> AsyncIterator[None]:
    """Leave the limits as they were; other tests trade under them."""
    engine = api.database.engine("owner")
    async with engine.connect() as connection:
        before = [dict(row) for row in (await connection.execute(select(risk_limits))).mappings()]
    yield
    async with engine.begin() as connection:
        await connection.execute(delete(risk_limits))
        await connection.execute(insert(risk_limits), before)


async def put(api: Api, body: dict[str, Any], *, who: str = "risk", name: str = "daily_loss") -> httpx.Response:
    whole = {"account": "demo", "reason": "because of a test", **body}
    sent = {field: value for field, value in whole.items() if value is not ...}
    return await api.call(who, "PUT", f"{PATH}/{name}", json=sent)


async def listed(api: Api, who: str, name: str = "daily_loss") -> list[dict[str, Any]]:
    items = (await api.call(who, "GET", PATH)).json()["items"]
    return [item for item in items if item["name"] == name]


async def counts(api: Api) -> tuple[int, int]:
    async with api.database.engine("owner").connect() as connection:
        limits, audited = [
            await connection.scalar(select(func.count()).select_from(table)) for table in (risk_limits, audit_log)
        ]
    return limits, audited


async def test_a_tightening_is_in_force_at_once_with_who_set_it_and_why(api: Api) -> None:
    answer = await put(api, {"value": "400.50"})

    assert answer.status_code == 200, answer.json()
    shown = answer.json()
    assert {**shown, "set_at": ...} == {
        "account": "demo",
        "name": "daily_loss",
        "scope": "account",
        "username": None,
        "value": "400.50",
        "unit": "money",
        "currency": "USD",
        "base_value": None,
        "set_by": "user:risk",
        "reason": "because of a test",
        "set_at": ...,
        "expires_at": None,
    }
    assert shown in await listed(api, "trader")
    async with api.database.engine("owner").connect() as connection:
        actor, detail = (
            await connection.execute(
                text("SELECT actor, detail FROM audit_log WHERE action = 'limit.set' ORDER BY id DESC LIMIT 1")
            )
        ).one()
    assert (actor, detail["before"], detail["after"]) == (f"user:{id_of('risk')}", "50000", "400.50")


def span(limit: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(limit["expires_at"]) - datetime.fromisoformat(limit["set_at"])


async def test_a_loosening_shows_its_end_and_the_value_beneath_it(api: Api) -> None:
    shown = (await put(api, {"value": "60000", "expires_in_s": 28_800})).json()
    spans = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(shown["set_at"])

    assert (shown["value"], shown["base_value"], spans) == ("60000", "50000", timedelta(hours=8))
    unsaid = (await put(api, {"value": "70000"})).json()
    assert datetime.fromisoformat(unsaid["expires_at"]) - datetime.fromisoformat(unsaid["set_at"]) == timedelta(
        days=1
    )


@pytest.mark.parametrize(
    "body", [{"value": "400"}, {"value": "60000", "expires_in_s": 3600}, {"value": "50000.0"}]
)
async def test_the_same_again_changes_nothing_and_answers_the_same(api: Api, body: dict[str, Any]) -> None:
    first = await put(api, body)
    before = await counts(api)
    again = await put(api, body)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert await counts(api) == before


@pytest.mark.parametrize("who", ["trader", "viewer"])
async def test_only_risk_and_admin_change_limits(api: Api, who: str) -> None:
    before = await counts(api)
    check_problem(await put(api, {"value": "1"}, who=who), status=403, code="role_forbidden")

    assert await counts(api) == before


async def test_only_an_admin_loosens_for_good(api: Api) -> None:
    body = {"value": "60000", "permanent": True}
    check_problem(await put(api, body), status=403, code="limit_loosening_refused")
    shown = (await put(api, body, who="admin")).json()

    assert (shown["value"], shown["expires_at"], shown["base_value"]) == ("60000", None, None)


async def test_only_an_admin_sets_the_first_value(api: Api) -> None:
    async with api.database.engine("owner").begin() as connection:
        await connection.execute(delete(risk_limits).where(risk_limits.c.name == "open_orders"))
    body = {"value": "20"}
    check_problem(await put(api, body, name="open_orders"), status=403, code="limit_loosening_refused")
    shown = (await put(api, body, who="admin", name="open_orders")).json()

    assert (shown["value"], shown["unit"], shown["currency"], shown["expires_at"]) == ("20", "count", None, None)


async def test_a_users_own_limit_is_seen_by_them_and_not_by_others(api: Api) -> None:
    shown = (await put(api, {"value": "100", "username": "trader"})).json()
    assert (shown["scope"], shown["username"]) == ("user", "trader")

    assert [limit["username"] for limit in await listed(api, "trader")] == [None, "trader"]
    assert [limit["username"] for limit in await listed(api, "other")] == [None]
    assert await listed(api, "homeless") == []
    assert {limit["account"] for limit in await listed(api, "other")} == {"demo"}
    assert {limit["account"] for limit in await listed(api, "risk")} == {"demo", "second"}


async def test_the_history_keeps_every_value_the_newest_first(api: Api) -> None:
    await put(api, {"value": "60000"})
    await put(api, {"value": "400"})
    await put(api, {"value": "100", "username": "trader"})
    query = f"{PATH}/history?account=demo&name=daily_loss&limit=1"
    walked = await pages(api, "risk", query)

    assert [limit["value"] for limit in walked] == ["100", "400", "60000", "50000"]
    assert [limit["superseded_at"] is None for limit in walked] == [True, True, False, False]
    assert [limit["value"] for limit in await pages(api, "other", query)] == ["400", "60000", "50000"]
    assert await pages(api, "homeless", query) == []


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("value as a number", {"value": 400}, "value"),
    ("value below zero", {"value": "-1"}, "value"),
    ("value that is none", {"value": "NaN"}, "value"),
    ("missing value", {"value": ...}, "value"),
    ("missing reason", {"reason": ...}, "reason"),
    ("reason of blanks", {"reason": "      "}, "reason"),
    ("reason too long", {"reason": "x" * 501}, "reason"),
    ("reason with a NUL", {"reason": "be\x00cause"}, "reason"),
    ("unknown field", {"user": "trader"}, "user"),
    ("no account named of two", {"account": ...}, "account"),
    ("account that is none", {"account": "nowhere"}, "account"),
    ("user who is none", {"username": "nobody"}, "username"),
    ("user of another account", {"username": "homeless"}, "username"),
    ("currency of another account", {"currency": "EUR"}, "currency"),
    ("loosening that is over at once", {"value": "60000", "expires_in_s": 1}, "expires_in_s"),
    ("loosening of more than 30 days", {"value": "60000", "expires_in_s": 30 * 86_400 + 1}, "expires_in_s"),
    ("loosening with a time as text", {"value": "60000", "expires_in_s": "3600"}, "expires_in_s"),
    ("tightening for a time", {"expires_in_s": 3600}, "expires_in_s"),
    (
        "loosening for a time and for good",
        {"value": "60000", "expires_in_s": 3600, "permanent": True},
        "expires_in_s",
    ),
]


@pytest.mark.parametrize(("body", "field"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_bad_input_is_refused_by_its_field_and_changes_nothing(
    api: Api, body: dict[str, Any], field: str
) -> None:
    before = await counts(api)
    answer = await put(api, {"value": "400", **body}, who="admin")

    check_problem(answer, status=422, code="validation_failed")
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert all(fault["message"] for fault in answer.json()["errors"])
    assert await counts(api) == before


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("open_orders", {"value": "2.5"}, "value"),
        ("price_collar", {"value": "1000001"}, "value"),
        ("price_collar", {"value": "50", "currency": "USD"}, "currency"),
        ("no_such_limit", {"value": "1"}, "name"),
    ],
)
async def test_what_a_limit_cannot_be_is_named(api: Api, name: str, body: dict[str, Any], field: str) -> None:
    answer = await put(api, body, who="admin", name=name)

    check_problem(answer, status=422, code="validation_failed")
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]


async def test_a_limit_that_was_changed_judges_the_next_order(api: Api) -> None:
    await put(api, {"value": "1"})
    answer = await api.execute(
        {
            "client_order_id": "after-the-limit",
            "account": "demo",
            "symbol": "EURUSD",
            "side": "buy",
            "type": "market",
            "volume": "0.10",
        }
    )

    assert answer.json()["state"] == "denied"
    assert "daily_loss_exceeded" in {denial["code"] for denial in answer.json()["denials"]}


def test_the_routes_are_described(api: Api) -> None:
    paths = create_app(api.settings).openapi()["paths"]

    assert set(paths[f"{PATH}/{{name}}"]["put"]["responses"]) == {"200", "202", "default"}
