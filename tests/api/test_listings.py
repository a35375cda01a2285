"""What users read: their own rows, page by page, each number with its age."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, insert

from db import watch
from db.accounts import read_account
from db.tables import contract_changes
from domain.orders import OrderState
from domain.watch import FindingKind, condition
from tests.api.books import FOREIGN, GOLD, MINE, NOBODYS, id_of, open_positions
from tests.api.conftest import Api, order


async def pages(api: Api, name: str, path: str) -> list[dict[str, Any]]:
    """All items of a list, walked by its cursor."""
    items: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(500):
        page = (await api.call(name, "GET", f"{path}&cursor={cursor}" if cursor else path)).json()
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items
    raise AssertionError("a list that does not end")


async def test_trades_are_listed_newest_first_and_each_once(api: Api) -> None:
    for number in range(5):
        await api.execute(order(f"page-{number}"), name="other")
    walked = await pages(api, "other", "/api/trading/trades?limit=2")

    assert len({trade["id"] for trade in walked}) == len(walked)
    assert [trade["received_at"] for trade in walked] == sorted(
        (trade["received_at"] for trade in walked), reverse=True
    )
    assert [trade["client_order_id"] for trade in walked][:5] == [f"page-{number}" for number in (4, 3, 2, 1, 0)]


async def test_trade_alone_is_the_trade_of_the_answer(api: Api) -> None:
    answered = (await api.execute(order("alone-1"))).json()
    alone = (await api.call("trader", "GET", answered["links"]["self"])).json()

    for field in ("id", "client_order_id", "state", "fills", "average_price", "magic", "links"):
        assert alone[field] == answered[field]


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("state=filled", "state", "filled"),
        ("symbol=EURUSD", "symbol", "EURUSD"),
        ("account=demo", "account", "demo"),
        ("client_order_id=filter-1", "client_order_id", "filter-1"),
        ("needs_attention=false", "needs_attention", False),
    ],
)
async def test_filters_keep_what_fits(api: Api, query: str, field: str, value: object) -> None:
    await api.execute(order("filter-1"))
    items = (await api.call("trader", "GET", f"/api/trading/trades?{query}")).json()["items"]

    assert items
    assert {item[field] for item in items} == {value}


async def test_filter_that_fits_nothing_gives_nothing(api: Api) -> None:
    page = (await api.call("trader", "GET", "/api/trading/trades?needs_attention=true")).json()

    assert page == {"items": [], "next_cursor": None}


async def test_users_see_their_own_trades_and_risk_sees_all(api: Api) -> None:
    trade_id = (await api.execute(order("mine-1"))).json()["id"]
    for name, status in (("trader", 200), ("risk", 200), ("admin", 200), ("other", 404), ("viewer", 404)):
        for path in (f"/api/trading/trades/{trade_id}", f"/api/trading/trades/{trade_id}/events"):
            assert (await api.call(name, "GET", path)).status_code == status

    seen = {trade["user_id"] for trade in await pages(api, "risk", "/api/trading/trades?limit=200")}
    assert {str(id_of("trader")), str(id_of("other"))} <= seen
    own = {trade["user_id"] for trade in await pages(api, "other", "/api/trading/trades?limit=200")}
    assert own == {str(id_of("other"))}


async def test_events_tell_the_story_in_order(api: Api) -> None:
    trade_id = (await api.execute(order("story-1"))).json()["id"]
    kinds = [
        event["kind"] for event in await pages(api, "trader", f"/api/trading/trades/{trade_id}/events?limit=2")
    ]

    assert kinds[:3] == ["trade.accepted", "trade.reserved", "trade.submitted"]
    assert "trade.filled_in_full" in kinds


async def test_ledger_balances_and_sums_more_than_the_page(api: Api) -> None:
    trade_id = (await api.execute(order("ledger-1"))).json()["id"]
    page = (await api.call("trader", "GET", f"/api/trading/ledger?trade_id={trade_id}&limit=1")).json()
    walked = await pages(api, "trader", f"/api/trading/ledger?trade_id={trade_id}&limit=1")

    assert len(page["items"]) == 1
    assert len(walked) == len({(entry["event_id"], entry["line"]) for entry in walked}) > 1
    assert sum(float(entry["amount"]) for entry in walked) == 0
    assert sum(float(each["amount"]) for each in page["sums"]) == 0
    assert all(isinstance(each["amount"], str) for each in page["sums"])


async def test_ledger_of_another_is_not_shown(api: Api) -> None:
    trade_id = (await api.execute(order("ledger-2"))).json()["id"]

    assert (await api.call("other", "GET", f"/api/trading/ledger?trade_id={trade_id}")).json()["items"] == []
    assert (await api.call("risk", "GET", f"/api/trading/ledger?trade_id={trade_id}")).json()["items"]


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "cursor=W10",
        "cursor=WyJhIiwiYiJd",
        "cursor=%FF",
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=" + "W" * 300,
    ],
)
@pytest.mark.parametrize("path", ["trades", "ledger", f"trades/{id_of('page')}/events"])
async def test_made_up_page_is_refused(api: Api, path: str, query: str) -> None:
    answer = await api.call("trader", "GET", f"/api/trading/{path}?{query}")

    assert answer.status_code == 422, answer.json()
    assert [each["field"] for each in answer.json()["errors"]] == [query.partition("=")[0]]


async def test_positions_show_whose_they_are_and_how_old(api: Api) -> None:
    await open_positions(api.database)
    mine = (await api.call("trader", "GET", "/api/trading/positions")).json()
    everybodys = (await api.call("risk", "GET", "/api/trading/positions")).json()

    assert {position["position_id"] for position in mine["positions"]} == {MINE, NOBODYS, GOLD}
    assert {position["position_id"] for position in everybodys["positions"]} == {MINE, NOBODYS, GOLD, FOREIGN}
    position = next(each for each in mine["positions"] if each["position_id"] == MINE)
    assert position["trade_id"] == str(id_of(f"opener-{MINE}"))
    assert (position["profit"], position["swap"], position["currency"]) == ("-3.00", "-0.10", "USD")
    assert 0 <= position["age_ms"] < 60_000
    assert (position["floating"], position["realised"], position["openers"]) == ("-3.10", "0", [])
    assert position["user_id"] == str(id_of("trader"))
    assert (position["quote"]["bid"], position["quote"]["close_price"]) == ("1.09990", "1.09990")
    assert position["quote"]["age_ms"] >= 0
    assert [account["account"] for account in mine["accounts"]] == ["demo"]
    assert mine["accounts"][0]["equity"] == "100000"


async def test_position_shows_who_has_what_in_it_and_what_it_has_realised(api: Api) -> None:
    opened = (await api.execute(order("opened-3", volume="0.30"))).json()
    position_id = opened["fills"][0]["position_id"]
    await open_positions(api.database, position_id)
    body = {"client_order_id": "close-part", "volume": "0.10"}
    closed = await api.call("trader", "POST", f"/api/trading/positions/{position_id}/close", json=body)
    assert closed.json()["state"] == "filled", closed.json()

    found = (await api.call("trader", "GET", "/api/trading/positions")).json()

    position = next(each for each in found["positions"] if each["position_id"] == position_id)
    # Two commissions of 0.35, and a dollar lost by the part that was closed.
    assert position["realised"] == "-1.70"
    (opener,) = position["openers"]
    assert (opener["trade_id"], opener["username"], opener["volume"]) == (opened["id"], "trader", "0.20")


async def test_position_without_a_quote_says_so(api: Api) -> None:
    await open_positions(api.database)
    found = (await api.call("trader", "GET", "/api/trading/positions")).json()

    assert next(each for each in found["positions"] if each["position_id"] == GOLD)["quote"] is None


async def test_close_sells_the_whole_position_once(api: Api) -> None:
    opened = (await api.execute(order("opened-1", volume="0.30"))).json()
    position_id = opened["fills"][0]["position_id"]
    await open_positions(api.database, position_id)
    path, body = f"/api/trading/positions/{position_id}/close", {"client_order_id": "close-1"}
    first = await api.call("trader", "POST", path, json=body)
    again = await api.call("trader", "POST", path, json=body)
    other = await api.call("trader", "POST", path, json={**body, "volume": "0.10"})

    trade = first.json()
    assert first.status_code == 201, trade
    assert (trade["side"], trade["type"], trade["volume"]) == ("sell", "market", "0.30")
    assert (trade["position_id"], trade["state"]) == (position_id, "filled")
    assert (again.status_code, again.json()["id"]) == (201, trade["id"])
    assert (other.status_code, other.json()["code"]) == (409, "client_order_id_conflict")


async def test_first_close_answers_a_repeat_after_the_position_is_gone(api: Api) -> None:
    opened = (await api.execute(order("opened-2"))).json()
    position_id = opened["fills"][0]["position_id"]
    await open_positions(api.database, position_id)
    path, body = f"/api/trading/positions/{position_id}/close", {"client_order_id": "close-2", "volume": "0.05"}
    first = await api.call("trader", "POST", path, json=body)
    await open_positions(api.database)
    again = await api.call("trader", "POST", path, json=body)
    late = await api.call("trader", "POST", path, json={"client_order_id": "close-3"})

    assert first.status_code == again.status_code == 201
    assert first.json()["id"] == again.json()["id"]
    assert (late.status_code, late.json()["code"]) == (404, "position_not_found")


async def test_status_counts_trades_and_shows_ages(api: Api) -> None:
    await api.execute(order("status-1"))
    status = (await api.call("trader", "GET", "/api/system/status")).json()

    assert set(status["trades"]) == {state.value for state in OrderState}
    assert status["trades"]["filled"] >= 1
    assert {"scope": "all", "state": "active"}.items() <= status["controls"][0].items()
    account = status["accounts"][0]
    assert (account["account"], account["lease"]["number"]) == ("demo", 3)
    assert account["lease"]["age_ms"] >= 0
    assert account["snapshot"]["age_ms"] >= 0
    assert [quote["symbol"] for quote in account["quotes"]] == ["EURUSD"]


async def test_status_shows_what_keeps_an_account_from_trading(api: Api) -> None:
    async def shown() -> tuple[list[Any], list[Any]]:
        account = (await api.call("trader", "GET", "/api/system/status")).json()["accounts"][0]
        return account["conditions"], account["contract_changes"]

    assert await shown() == ([], [])
    async with api.database.engine("broker").begin() as connection:
        demo = await read_account(connection, "demo")
        off = condition(FindingKind.ALGO_TRADING_OFF)
        await watch.see_conditions(connection, demo, [off], read_at=datetime.now(UTC), actor="test")
        gold = {"account_id": demo.id, "symbol": "XAUUSD", "term": "digits", "was": "2", "shown": "3"}
        await connection.execute(insert(contract_changes).values(**gold, alert_key="-"))
    conditions, changes = await shown()
    async with api.database.engine("broker").begin() as connection:
        await watch.see_conditions(connection, demo, [], read_at=datetime.now(UTC), actor="test")
        await connection.execute(delete(contract_changes))

    assert [(row["kind"], row["message"]) for row in conditions] == [("algo_trading_off", off.message)]
    assert [(row["symbol"], row["term"], row["was"], row["shown"]) for row in changes] == [
        ("XAUUSD", "digits", "2", "3")
    ]


async def test_status_of_a_user_without_an_account_shows_none(api: Api) -> None:
    status = (await api.call("homeless", "GET", "/api/system/status")).json()

    assert status["accounts"] == []
    assert sum(status["trades"].values()) == 0
