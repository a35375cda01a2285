"""The reconciliation over REST: who has an account compared, what a run answers, and who sees the runs."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from domain.fills import Entry, FillKind
from domain.magics import magic_of
from domain.money import ZERO, Lots, Price
from domain.reconciliation import Verdict
from tests.api.books import id_of, position
from tests.api.conftest import Api, bearer, elsewhere, running, silent_server
from tests.api.differing import DIFFERING, booked, past_run
from tests.api.showing import ShownBroker
from tests.api.test_listings import pages
from tests.api.test_problems import check_problem
from tests.factories import make_fill, make_order
from tests.waiting import free_port

RECONCILE, RUNS = "/api/trading/reconcile", "/api/reconciliation/runs"


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def opened(api: Api) -> None:
    """The first run takes what the account has as the beginning of its books."""
    run = (await reconcile(api, "open", name="risk")).json()["run"]
    assert run["verdict"] == "explained", run
    assert [each["cause"] for each in run["explained"]] == ["opening"]


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def agreeing(api: Api, opened: None) -> None:
    """The broker shows what the books have."""
    side = await booked(api)
    for field, value in vars(ShownBroker(balance=side.balance, credit=side.credit)).items():
        setattr(api.shown, field, value)


@pytest_asyncio.fixture
async def open_again(api: Api) -> AsyncIterator[None]:
    yield
    async with api.database.engine("owner").begin() as connection:
        await connection.execute(text("UPDATE trading_control SET state = 'active', stop_id = NULL"))
        await connection.execute(
            text(
                "UPDATE emergency_stops SET resumed_at = now(), ended_at = coalesce(ended_at, now())"
                " WHERE resumed_at IS NULL"
            )
        )


async def reconcile(api: Api, key: str, *, name: str = "twofold", **body: Any) -> httpx.Response:
    whole = {"client_order_id": key, "account": "second", **body}
    sent = {field: value for field, value in whole.items() if value is not ...}
    return await api.call(name, "POST", RECONCILE, json=sent)


async def test_a_run_answers_with_what_it_compared(api: Api) -> None:
    answer = await reconcile(api, "run-1")

    told = answer.json()
    assert answer.status_code == 200, told
    run = told["run"]
    assert (run["account"], run["currency"], run["cause"], run["verdict"]) == ("second", "USD", "request", "clean")
    assert (run["reason"], run["report"], run["explained"]) == (None, None, [])
    assert run["totals"]["balance"] == run["totals"]["balance_books"] == format((await booked(api)).balance, "f")
    assert run["counts"] == {"positions": 0, "orders": 0, "foreign_orders": 0, "differences": 0, "kept_out": 0}
    took = datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["began_at"])
    assert run["duration_ms"] == round(took.total_seconds() * 1000)
    workflow = f"reconcile-second-request-{id_of('twofold').hex}-run-1"
    assert told["temporal"] == f"http://temporal.test/namespaces/default/workflows/{workflow}"
    assert (await pages(api, "twofold", f"{RUNS}?account=second"))[0] == run


async def test_the_same_key_is_the_same_run_and_another_user_has_keys_of_their_own(api: Api) -> None:
    first = (await reconcile(api, "run-2")).json()
    again = await api.call(
        "twofold", "POST", RECONCILE, json={"account": "second"}, headers={"Idempotency-Key": "run-2"}
    )
    other = (await reconcile(api, "run-2", name="risk")).json()

    assert (again.status_code, again.json()) == (200, first)
    assert other["run"]["id"] != first["run"]["id"]


async def test_who_does_not_wait_asks_again_under_the_same_key(api: Api) -> None:
    begun = await reconcile(api, "run-3", wait_ms=0)
    assert (begun.status_code, begun.json()["run"]) == (202, None)

    ended = await reconcile(api, "run-3")

    assert (ended.status_code, ended.json()["run"]["verdict"]) == (200, "clean")
    assert ended.json()["temporal"] == begun.json()["temporal"]


async def test_what_a_record_proves_is_named_with_its_money(api: Api) -> None:
    deposit = make_fill(
        ticket=9_000_101,
        broker_order_id=0,
        position_id=0,
        magic=0,
        symbol="",
        side="",
        kind=FillKind.BALANCE,
        entry=Entry.NONE,
        volume=Lots(ZERO),
        price=Price(ZERO),
        commission=ZERO,
        profit=Decimal("250.00"),
        executed_at=datetime.now(UTC),
    )
    api.shown.records, api.shown.balance = (deposit,), api.shown.balance + deposit.profit

    run = (await reconcile(api, "deposit-1")).json()["run"]

    assert run["verdict"] == "explained"
    assert run["explained"] == [{"cause": "deposit", "count": 1, "amount": "250.00", "tickets": [9_000_101]}]


async def test_a_broker_that_cannot_be_read_makes_a_run_that_says_so(api: Api) -> None:
    api.shown.away = True
    run = (await reconcile(api, "run-4")).json()["run"]
    assert (run["verdict"], run["read_at"]) == ("inconclusive", None)
    assert "the terminal does not answer" in run["reason"]


@pytest.mark.usefixtures("open_again")
async def test_what_differs_is_listed_and_stops_trading_until_it_is_decided(api: Api) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    api.shown.balance += Decimal("42.17")
    api.shown.positions = (position(9_100_001, volume=Lots(Decimal("0.01")), updated_at=hour_ago),)
    number = magic_of(id_of("an order that no trade has"))
    api.shown.orders = (make_order(broker_order_id=9_100_002, magic=number),)

    run = (await reconcile(api, "run-5")).json()["run"]

    assert (run["verdict"], run["counts"]["differences"]) == ("stopped", 3)
    seen = [
        each for each in await pages(api, "twofold", f"{DIFFERING}?limit=200") if each["last_run_id"] == run["id"]
    ]
    assert {(each["kind"], each["state"], each["tier"], Decimal(each["impact_usd"])) for each in seen} == {
        ("balance", "corrected", "correct", Decimal("42.17")),
        ("position_unknown", "open", "stop", Decimal(1_100)),
        ("order_unknown", "open", "review", ZERO),
    }
    (stop,) = (await api.call("risk", "GET", "/api/system/stops?limit=1")).json()["items"]
    assert (stop["cause"], stop["scope"], stop["scope_id"], stop["mode"]) == (
        "unexplained_difference",
        "account",
        "second",
        "halted",
    )
    place = {"scope": "account", "scope_id": "second", "reason": "the test goes on", "abandon": True}
    refused = await api.call("admin", "POST", "/api/system/resume", json=place)
    check_problem(refused, status=409, code="cause_remains")
    (beyond,) = [each["id"] for each in seen if each["tier"] == "stop"]
    assert f"decide discrepancy {beyond}" in refused.json()["detail"]

    api.shown.positions = api.shown.orders = ()
    gone = (await reconcile(api, "run-6")).json()["run"]
    assert gone["verdict"] == "clean"
    assert (await api.call("admin", "POST", "/api/system/resume", json=place)).status_code == 200


async def test_a_viewer_has_nothing_compared(api: Api) -> None:
    answer = await reconcile(api, "viewer-1", name="viewer", account="demo")
    check_problem(answer, status=403, code="role_forbidden")


@pytest.mark.parametrize(
    ("name", "account"), [("trader", "second"), ("twofold", "nowhere"), ("risk", "nowhere"), ("homeless", ...)]
)
async def test_an_account_that_is_not_the_users_is_not_found(api: Api, name: str, account: object) -> None:
    answer = await reconcile(api, "not-mine", name=name, account=account)
    check_problem(answer, status=404, code="account_not_found")


@pytest.mark.parametrize("name", ["twofold", "risk"])
async def test_who_has_several_accounts_names_one(api: Api, name: str) -> None:
    answer = await reconcile(api, "several", name=name, account=...)
    check_problem(answer, status=422, code="validation_failed")
    assert answer.json()["errors"] == [{"field": "account", "message": "name one of demo, second"}]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"client_order_id": ...}, 400, "client_order_id_missing"),
        ({"client_order_id": "two words"}, 422, "client_order_id"),
        ({"account": "Odd!"}, 422, "account"),
        ({"wait_ms": 60_001}, 422, "wait_ms"),
        ({"wait_ms": "1"}, 422, "wait_ms"),
        ({"symbol": "EURUSD"}, 422, "symbol"),
    ],
)
async def test_a_request_that_makes_no_sense_names_the_field(
    api: Api, body: dict[str, Any], status: int, told: str
) -> None:
    whole = {"client_order_id": "odd", "account": "second", **body}
    sent = {field: value for field, value in whole.items() if value is not ...}
    answer = await api.call("twofold", "POST", RECONCILE, json=sent)
    assert answer.status_code == status
    assert told in answer.text


async def test_users_see_the_runs_of_the_accounts_that_they_trade_on(api: Api) -> None:
    here, there = await past_run(api, account="demo"), await past_run(api)
    for name, visible in (
        ("trader", {here}),
        ("viewer", {here}),
        ("twofold", {here, there}),
        ("homeless", set()),
        ("risk", {here, there}),
    ):
        listed = {UUID(each["id"]) for each in await pages(api, name, f"{RUNS}?limit=200")}
        assert listed & {here, there} == visible, name
    assert await pages(api, "trader", f"{RUNS}?account=second") == []


async def test_the_runs_are_walked_newest_first_and_each_once(api: Api) -> None:
    made = [str(await past_run(api)) for _ in range(5)]
    walked = await pages(api, "twofold", f"{RUNS}?account=second&limit=2")

    ids = [each["id"] for each in walked]
    assert len(set(ids)) == len(ids)
    assert ids[:5] == made[::-1]


async def test_runs_are_filtered_by_how_they_ended(api: Api) -> None:
    failed = await past_run(api, verdict=Verdict.INCONCLUSIVE)
    await past_run(api)
    found = await pages(api, "risk", f"{RUNS}?account=second&verdict=inconclusive")
    assert {each["verdict"] for each in found} == {"inconclusive"}
    assert found[0]["id"] == str(failed)
    odd = await api.call("risk", "GET", f"{RUNS}?verdict=odd")
    check_problem(odd, status=422, code="validation_failed")


@pytest.mark.parametrize("silent", [True, False])
async def test_without_the_workflow_server_no_run_begins_and_the_same_request_helps_later(
    api: Api, *, silent: bool
) -> None:
    key = f"away-{silent}".lower()
    with silent_server() as address:
        away = elsewhere(api.settings, address=address if silent else f"127.0.0.1:{free_port()}")
        async with running(away) as http:
            body = {"client_order_id": key, "account": "second"}
            answer = await http.post(RECONCILE, json=body, headers=bearer("twofold"))

    check_problem(answer, status=503, code="pipeline_unavailable")
    assert (answer.headers["retry-after"], answer.json()["retry"]) == ("1", "after")
    assert answer.elapsed.total_seconds() < 2
    assert (await reconcile(api, key)).json()["run"]["verdict"] == "clean"
