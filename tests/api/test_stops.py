"""A stop over REST latches before it answers; trading is opened again by a higher role, once the cause is over."""

import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.api.books import NOBODYS, id_of, open_positions
from tests.api.conftest import Api, bearer, elsewhere, order, running, silent_server

GOLD = {"scope": "symbol", "scope_id": "XAUUSD", "reason": "gold is closed"}


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def trading_is_open_again(api: Api) -> AsyncIterator[None]:
    yield
    async with api.database.engine("owner").begin() as connection:
        await connection.execute(text("UPDATE trading_control SET state = 'active', stop_id = NULL"))
        await connection.execute(
            text(
                "UPDATE emergency_stops SET resumed_at = now(), ended_at = coalesce(ended_at, now())"
                " WHERE resumed_at IS NULL"
            )
        )


async def stop(api: Api, name: str, key: str, **body: Any) -> Any:
    return await api.call(
        name, "POST", "/api/system/emergency-stop", json={"client_order_id": key, "reason": "a test", **body}
    )


async def resume(api: Api, name: str, **body: Any) -> Any:
    return await api.call(name, "POST", "/api/system/resume", json={"reason": "the test goes on", **body})


async def test_a_stop_answers_in_force_and_flat_with_its_certificate(api: Api) -> None:
    answer = await stop(api, "risk", "stop-1", **GOLD, flatten=True, wait_ms=5_000)

    told = answer.json()
    assert answer.status_code == 201, told
    assert (told["mode"], told["cause"], told["carried_on"]) == ("halted", "person", True)
    assert told["requested_by"] == f"user:{id_of('risk')}"
    assert told["latched_at"] <= told["in_force_at"] <= told["flat_at"]
    assert told["certificate"]["remaining"] == []
    assert (await api.call("viewer", "GET", f"/api/system/stops/{told['id']}")).json()["id"] == told["id"]
    listed = (await api.call("trader", "GET", "/api/system/stops")).json()["items"]
    assert listed[0]["id"] == told["id"]


async def test_what_a_stop_covers_is_denied_by_its_reason_and_the_rest_goes_on(api: Api) -> None:
    await stop(api, "risk", "stop-2", **GOLD)

    denied = (await api.execute(order("stopped-1", symbol="XAUUSD"))).json()
    assert denied["state"] == "denied"
    assert "trading_halted" in {each["code"] for each in denied["denials"]}
    assert (await api.execute(order("not-stopped-1"))).json()["state"] == "filled"


async def test_risk_closes_while_trading_is_halted_and_the_order_carries_the_stop(api: Api) -> None:
    async with api.database.engine("owner").begin() as connection:
        await connection.execute(
            text("""
                INSERT INTO account_users (account_id, user_id, margin_mode)
                SELECT account_id, :risk, margin_mode FROM account_users LIMIT 1
            """),
            {"risk": id_of("risk")},
        )
    await open_positions(api.database)
    told = (await stop(api, "risk", "stop-7", scope="symbol", scope_id="EURUSD", wait_ms=5_000)).json()

    async def close(name: str) -> Any:
        body = {"client_order_id": f"close-by-{name}"}
        return (await api.call(name, "POST", f"/api/trading/positions/{NOBODYS}/close", json=body)).json()

    assert (await close("trader"))["denials"][0]["code"] == "trading_halted"
    assert (await close("risk"))["state"] == "working", "the broker has it"
    async with api.database.engine("owner").begin() as connection:
        carried = await connection.scalar(
            text("SELECT stop_id FROM trade_ledger WHERE client_order_id = 'close-by-risk'")
        )
        await connection.execute(text("DELETE FROM account_users WHERE user_id = :risk"), {"risk": id_of("risk")})
    assert str(carried) == told["id"]


async def test_the_same_key_is_the_same_stop_and_another_body_under_it_a_conflict(api: Api) -> None:
    first = (await stop(api, "risk", "stop-3", **GOLD)).json()
    assert "id" in first, first
    again = await stop(api, "risk", "stop-3", **GOLD)
    other = await stop(api, "risk", "stop-3", scope="symbol", scope_id="EURUSD", reason="another")

    assert (again.status_code, again.json()["id"]) == (201, first["id"])
    assert (other.status_code, other.json()["code"]) == (409, "stop_conflict")
    assert (await api.execute(order("not-stopped-2"))).json()["state"] == "filled"


async def test_a_trader_stops_their_own_trading_alone(api: Api) -> None:
    mine = {"scope": "user", "scope_id": str(id_of("other"))}
    everybody = await stop(api, "other", "stop-4")
    assert (everybody.status_code, everybody.json()["code"]) == (403, "role_forbidden")
    assert str(id_of("other")) in everybody.json()["detail"]

    assert (await stop(api, "other", "stop-5", **mine, wait_ms=5_000)).json()["ended_at"]
    assert (await api.execute(order("own-1"), name="other")).json()["state"] == "denied"
    assert (await api.execute(order("own-2"))).json()["state"] == "filled"
    assert (await resume(api, "other", **mine)).status_code == 403
    assert (await resume(api, "risk", **mine)).status_code == 200
    assert (await api.execute(order("own-3"), name="other")).json()["state"] == "filled"


async def test_what_risk_has_stopped_an_admin_opens_with_a_reason(api: Api) -> None:
    await stop(api, "risk", "stop-6", **GOLD, wait_ms=5_000)
    place = {"scope": "symbol", "scope_id": "XAUUSD"}

    assert (await resume(api, "risk", **place)).status_code == 403
    assert (await api.call("admin", "POST", "/api/system/resume", json=place)).status_code == 422
    opened = await resume(api, "admin", **place)

    assert (opened.status_code, opened.json()["state"], len(opened.json()["stops"])) == (200, "active", 1)
    again = await resume(api, "admin", **place)
    assert (again.status_code, again.json()["code"]) == (409, "not_stopped")
    repeated = await stop(api, "risk", "stop-6", **GOLD, wait_ms=5_000)
    assert (repeated.status_code, repeated.json()["code"]) == (409, "stop_over"), "no stop by an old key"


async def test_trading_stays_stopped_while_its_cause_lasts(api: Api) -> None:
    async with api.database.engine("owner").begin() as connection:
        await connection.execute(
            text("""
                INSERT INTO emergency_stops (id, scope, scope_id, mode, cancel_orders, flatten, include_external,
                    cause, reason, requested_by, resume_role, requested_at, ended_at)
                VALUES (gen_random_uuid(), 'account', 'demo', 'reduce_only', true, false, false, 'link_lost',
                        'test', 'test', 'admin', now(), now())
            """)
        )
        await connection.execute(
            text("""
                INSERT INTO trading_control (scope, scope_id, state, cause, reason, set_by)
                VALUES ('account', 'demo', 'reduce_only', 'link_lost', 'test', 'test')
                ON CONFLICT (scope, scope_id) DO UPDATE SET state = 'reduce_only'
            """)
        )
        await connection.execute(
            text("""
                INSERT INTO account_conditions (account_id, kind, message, alert_key)
                VALUES (:id, 'broker_disconnected', 'no link', 'k')
            """),
            {"id": id_of("demo")},
        )
    place = {"scope": "account", "scope_id": "demo"}
    try:
        refused = await resume(api, "admin", **place)
        assert (refused.status_code, refused.json()["code"]) == (409, "cause_remains")
        assert "no link" in refused.json()["detail"]
    finally:
        async with api.database.engine("owner").begin() as connection:
            await connection.execute(text("DELETE FROM account_conditions"))
    assert (await resume(api, "admin", **place)).status_code == 200


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"scope": "account"}, "scope_id"),
        ({"scope": "all", "scope_id": "demo"}, "scope_id"),
        ({"mode": "active"}, "mode"),
        ({"mode": "paused"}, "mode"),
        ({"reason": "x"}, "reason"),
        ({"flatten": "yes"}, "flatten"),
    ],
)
async def test_a_stop_that_makes_no_sense_names_the_field(api: Api, body: dict[str, Any], told: str) -> None:
    answer = await stop(api, "risk", "stop-bad", **body)
    assert answer.status_code == 422
    assert told in answer.text


@pytest.mark.parametrize(("scope", "scope_id"), [("account", "dmeo"), ("user", "trader"), ("symbol", "EURUSDX")])
async def test_a_stop_of_what_does_not_exist_says_that_nothing_was_stopped(
    api: Api, scope: str, scope_id: str
) -> None:
    answer = await stop(api, "risk", f"stop-slip-{scope}", scope=scope, scope_id=scope_id)
    assert (answer.status_code, answer.json()["code"]) == (422, "stop_place_unknown")
    assert scope_id in answer.json()["detail"]


async def test_a_stop_needs_a_key(api: Api) -> None:
    answer = await api.call("risk", "POST", "/api/system/emergency-stop", json={"reason": "no key"})
    assert answer.status_code == 400


async def test_a_viewer_stops_nothing(api: Api) -> None:
    assert (await stop(api, "viewer", "stop-7", **GOLD)).status_code == 403


async def test_the_latch_stands_while_temporal_is_away(api: Api) -> None:
    with silent_server() as address:
        async with running(elsewhere(api.settings, address=address)) as http:
            begun = time.perf_counter()
            answer = await http.post(
                "/api/system/emergency-stop",
                json={"client_order_id": "stop-away", **GOLD, "flatten": True},
                headers=bearer("risk"),
            )
            seconds = time.perf_counter() - begun
    told = answer.json()
    assert (answer.status_code, told["carried_on"], told["in_force_at"]) == (201, False, None)
    assert seconds < 3
    assert (await api.execute(order("stopped-away", symbol="XAUUSD"))).json()["state"] == "denied"
    assert datetime.fromisoformat(told["latched_at"])
