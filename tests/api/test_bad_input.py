"""Bad input is refused with the field named, and nothing is written."""

from typing import Any

import pytest

from tests.api.books import FOREIGN, GOLD, NOBODYS, count_rows, open_positions
from tests.api.conftest import Api, order

LIMIT = {"type": "limit", "price": "1.05000"}
STOP_LIMIT = {"type": "stop_limit", "price": "1.20000", "stop_limit_price": "1.19000"}

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("unknown symbol", {"symbol": "NOPE"}, "symbol"),
    ("symbol that is no text", {"symbol": 5}, "symbol"),
    ("symbol with a NUL", {"symbol": "EUR\x00USD"}, "symbol"),
    ("missing symbol", {"symbol": ...}, "symbol"),
    ("volume as a number", {"volume": 0.1}, "volume"),
    ("volume as a whole number", {"volume": 1}, "volume"),
    ("volume as a truth value", {"volume": True}, "volume"),
    ("volume null", {"volume": None}, "volume"),
    ("missing volume", {"volume": ...}, "volume"),
    ("volume off its step", {"volume": "0.015"}, "volume"),
    ("volume below the least", {"volume": "0.001"}, "volume"),
    ("volume above the most", {"volume": "51"}, "volume"),
    ("volume zero", {"volume": "0"}, "volume"),
    ("negative volume", {"volume": "-0.1"}, "volume"),
    ("volume NaN", {"volume": "NaN"}, "volume"),
    ("volume sNaN", {"volume": "sNaN"}, "volume"),
    ("volume infinite", {"volume": "Infinity"}, "volume"),
    ("volume huge", {"volume": "1e400"}, "volume"),
    ("volume of many digits", {"volume": "1" * 40}, "volume"),
    ("volume of many places", {"volume": "0." + "1" * 40}, "volume"),
    ("volume with a space", {"volume": " 0.1"}, "volume"),
    ("volume with an underscore", {"volume": "1_0"}, "volume"),
    ("volume in other digits", {"volume": "\u0660.\u0661"}, "volume"),
    ("volume empty", {"volume": ""}, "volume"),
    ("volume a list", {"volume": ["0.1"]}, "volume"),
    ("unknown side", {"side": "long"}, "side"),
    ("unknown type", {"type": "trailing"}, "type"),
    ("unknown time in force", {"time_in_force": "gtx"}, "time_in_force"),
    ("unknown field", {"leverage": "10"}, "leverage"),
    ("limit without a price", {"type": "limit"}, "price"),
    ("market with a price", {"price": "1.1"}, "price"),
    ("price off its tick", {"type": "limit", "price": "1.050001"}, "price"),
    ("negative price", {"type": "limit", "price": "-1.05"}, "price"),
    ("stop limit without its limit", {"type": "stop_limit", "price": "1.2"}, "stop_limit_price"),
    ("limit with a stop limit price", {**LIMIT, "stop_limit_price": "1.05"}, "stop_limit_price"),
    ("negative stop loss", {"stop_loss": "-1"}, "stop_loss"),
    ("stop loss off its tick", {"stop_loss": "1.0500001"}, "stop_loss"),
    ("stop loss above a buy limit", {**LIMIT, "stop_loss": "1.06"}, "stop_loss"),
    ("stop loss below a sell limit", {**LIMIT, "side": "sell", "stop_loss": "1.04"}, "stop_loss"),
    ("stop loss above a stop limit's limit", {**STOP_LIMIT, "stop_loss": "1.195"}, "stop_loss"),
    ("take profit below a buy limit", {**LIMIT, "take_profit": "1.04"}, "take_profit"),
    ("gtd without an expiry", {**LIMIT, "time_in_force": "gtd"}, "expires_at"),
    ("expiry without gtd", {**LIMIT, "expires_at": "2099-01-01T00:00:00Z"}, "expires_at"),
    (
        "expiry in the past",
        {**LIMIT, "time_in_force": "gtd", "expires_at": "2020-01-01T00:00:00Z"},
        "expires_at",
    ),
    (
        "expiry without a zone",
        {**LIMIT, "time_in_force": "gtd", "expires_at": "2099-01-01T00:00:00"},
        "expires_at",
    ),
    ("expiry as a number", {**LIMIT, "time_in_force": "gtd", "expires_at": 4070908800}, "expires_at"),
    ("resting order that is immediate", {**LIMIT, "time_in_force": "ioc"}, "time_in_force"),
    ("market order that expires", {"time_in_force": "gtd", "expires_at": "2099-01-01T00:00:00Z"}, "time_in_force"),
    ("slippage below zero", {"max_slippage_points": -1}, "max_slippage_points"),
    ("slippage as text", {"max_slippage_points": "5"}, "max_slippage_points"),
    ("slippage beyond the books", {"max_slippage_points": 2**40}, "max_slippage_points"),
    ("wait too long", {"wait_ms": 30_001}, "wait_ms"),
    ("wait as a fraction", {"wait_ms": 1.5}, "wait_ms"),
    ("submit window too short", {"submit_within_ms": 99}, "submit_within_ms"),
    ("account of nobody", {"account": "nope"}, "account"),
    ("account of another", {"account": "second"}, "account"),
    ("account in no form", {"account": "Demo!"}, "account"),
    ("id in no form", {"client_order_id": "-starts-badly"}, "client_order_id"),
    ("id too long", {"client_order_id": "x" * 65}, "client_order_id"),
    ("id with a line end", {"client_order_id": "abc\n"}, "client_order_id"),
    ("unknown position", {"side": "sell", "position_id": 424242}, "position_id"),
    ("position of another user", {"side": "sell", "position_id": FOREIGN}, "position_id"),
    ("position in another symbol", {"side": "sell", "position_id": GOLD}, "position_id"),
    ("position beyond the books", {"position_id": 2**63}, "position_id"),
]


@pytest.fixture
async def positions(api: Api) -> None:
    await open_positions(api.database)


@pytest.mark.parametrize(
    ("changes", "field"), [(c, f) for _, c, f in REFUSED], ids=[name for name, _, _ in REFUSED]
)
async def test_field_is_named_and_nothing_is_written(
    api: Api, positions: None, changes: dict[str, Any], field: str
) -> None:
    before = await count_rows(api.database.engine())
    answer = await api.execute(order(**{"client_order_id": "bad-input", **changes}))

    problem = answer.json()
    assert answer.status_code == 422, problem
    assert field in [each["field"] for each in problem["errors"]], problem
    assert await count_rows(api.database.engine()) == before


async def test_all_faults_are_reported_at_once(api: Api) -> None:
    answer = await api.execute(order("bad-many", symbol="NOPE", type="limit", stop_limit_price="1"))

    assert {each["field"] for each in answer.json()["errors"]} == {"symbol", "price", "stop_limit_price"}


async def test_number_is_answered_with_how_to_send_it(api: Api) -> None:
    answer = await api.execute(order("bad-number", volume=0.1))

    assert answer.json()["errors"] == [{"field": "volume", "message": 'send a decimal as a string, like "0.10"'}]


async def test_user_with_several_accounts_has_to_name_one(api: Api) -> None:
    answer = await api.execute(order("bad-account", account=...), name="twofold")

    assert answer.json()["errors"] == [{"field": "account", "message": "you have several accounts; name one"}]


async def test_user_without_an_account_is_told_so(api: Api) -> None:
    answer = await api.execute(order("no-account", account=...), name="homeless")

    assert answer.json()["errors"] == [{"field": "account", "message": "you have no account"}]


async def test_order_without_an_id_is_400(api: Api) -> None:
    answer = await api.execute(order(...))

    assert (answer.status_code, answer.json()["code"]) == (400, "client_order_id_missing")


async def test_two_different_ids_are_400(api: Api) -> None:
    answer = await api.call(
        "trader", "POST", "/api/trading/execute", json=order("one"), headers={"Idempotency-Key": "two"}
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "client_order_id_ambiguous")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"volume": 1' + b"0" * 5000 + b"}",
        b"[" * 30_000,
        b"\xff\xfe",
        b'{"volume": "\\ud800"}',
        b'{"symbol": "\\ud800"}',
        b'{"\\ud800": "\\ud800"}',
        b"",
        b"[]",
        b"null",
        b'"text"',
        b'{"volume": NaN}',
    ],
    ids=[
        "cut",
        "huge number",
        "deep",
        "no UTF-8",
        "surrogate",
        "surrogate text",
        "surrogate name",
        "empty",
        "list",
        "null",
        "text",
        "NaN",
    ],
)
async def test_c5_body_that_is_no_order_is_a_problem_of_the_caller(api: Api, body: bytes) -> None:
    before = await count_rows(api.database.engine())
    answer = await api.call(
        "trader", "POST", "/api/trading/execute", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert await count_rows(api.database.engine()) == before


async def test_close_of_a_position_that_is_not_mine_is_404(api: Api, positions: None) -> None:
    for position_id in (424242, FOREIGN):
        answer = await api.call(
            "trader",
            "POST",
            f"/api/trading/positions/{position_id}/close",
            json={"client_order_id": f"close-{position_id}"},
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "position_not_found")


async def test_close_of_more_than_the_position_is_refused(api: Api, positions: None) -> None:
    answer = await api.call(
        "trader",
        "POST",
        f"/api/trading/positions/{NOBODYS}/close",
        json={"client_order_id": "close-more", "volume": "0.31"},
    )

    assert answer.json()["errors"] == [
        {"field": "volume", "message": "must be at most 0.30 lots, all of the position"}
    ]
