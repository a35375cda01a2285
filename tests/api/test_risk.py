"""What an order would meet, how far every limit is used, and how large an order may be."""

from decimal import Decimal
from typing import Any

import pytest

from tests.api.books import LIMITS, count_rows, open_positions
from tests.api.conftest import Api, order


def question(**changes: Any) -> dict[str, Any]:
    return order(..., **changes)  # type: ignore[arg-type] # without an id


async def test_a_preview_answers_as_the_gates_do_and_stores_nothing(api: Api) -> None:
    before = await count_rows(api.database.engine("owner"))

    answer = await api.call("trader", "POST", "/api/trading/preview", json=question())

    seen = answer.json()
    assert (answer.status_code, seen["passes"], seen["denials"]) == (200, True, []), seen
    assert (seen["claim"]["volume"], seen["claim"]["currency"]) == ("0.10", "USD")
    limits = {line["name"]: line for line in seen["limits"]}
    assert limits["order_value"]["added"] == seen["claim"]["notional"]
    assert Decimal(limits["order_value"]["left"]) == LIMITS["order_value"] - Decimal(seen["claim"]["notional"])
    assert await count_rows(api.database.engine("owner")) == before


async def test_a_preview_that_fails_names_every_gate_with_what_would_pass(api: Api) -> None:
    seen = (await api.call("trader", "POST", "/api/trading/preview", json=question(volume="45"))).json()

    denial = next(each for each in seen["denials"] if each["gate"] == "position_size")
    assert not seen["passes"]
    assert denial["remedy"].endswith("lots would pass")
    assert set(denial["ages_ms"]) == {"account", "quote"}
    fits = denial["remedy"].split()[0]
    again = (await api.call("trader", "POST", "/api/trading/preview", json=question(volume=fits))).json()
    assert "position_size" not in {each["gate"] for each in again["denials"]}


async def test_a_preview_of_nonsense_is_a_problem_that_names_the_field(api: Api) -> None:
    answer = await api.call("trader", "POST", "/api/trading/preview", json=question(volume="0.105"))
    assert answer.status_code == 422
    assert "volume" in answer.text


async def test_a_viewer_previews_nothing(api: Api) -> None:
    assert (await api.call("viewer", "POST", "/api/trading/preview", json=question())).status_code == 403


async def test_risk_shows_every_limit_with_what_is_left_of_it(api: Api) -> None:
    await open_positions(api.database)

    answer = (await api.call("trader", "GET", "/api/trading/risk")).json()

    (account,) = answer["accounts"]
    assert (account["account"], account["username"]) == ("demo", "trader")
    by_name = {line["name"] for line in account["limits"]}
    assert {"daily_loss", "rolling_loss", "gross_exposure", "open_positions", "message_rate"} <= by_name
    for line in account["limits"]:
        assert Decimal(line["left"]) == Decimal(line["value"]) - Decimal(line["used"]) - Decimal(line["added"])
    euro = next(
        each for each in account["limits"] if (each["name"], each["symbol"]) == ("position_size", "EURUSD")
    )
    assert Decimal(euro["used"]) >= Decimal("0.90") * 100_000
    assert account["margin"]["age_ms"] >= 0


async def test_a_trader_sees_no_other_users_risk_and_the_risk_role_sees_all(api: Api) -> None:
    own = (await api.call("other", "GET", "/api/trading/risk")).json()["accounts"]
    every = (await api.call("risk", "GET", "/api/trading/risk?account=demo")).json()["accounts"]

    assert {row["username"] for row in own} == {"other"}
    assert {"trader", "other"} <= {row["username"] for row in every}
    assert {row["account"] for row in every} == {"demo"}


def sizing(**changes: Any) -> dict[str, Any]:
    body = {
        "symbol": "EURUSD",
        "account": "demo",
        "side": "buy",
        "risk_amount": "100",
        "stop_points": 200,
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


async def test_a_size_is_the_volume_for_a_risk_and_a_stop(api: Api) -> None:
    size = (await api.call("trader", "POST", "/api/trading/size", json=sizing())).json()

    assert (Decimal(size["volume"]), size["loss"], size["currency"]) == (Decimal("0.5"), "100.00", "USD")
    assert (size["least_volume"], size["least_loss"]) == ("0.01", "2.00")
    assert size["quote_age_ms"] >= 0


async def test_a_percent_is_one_of_the_equity(api: Api) -> None:
    body = sizing(risk_amount=None, risk_percent="1")
    size = (await api.call("trader", "POST", "/api/trading/size", json=body)).json()
    assert (size["risk"], size["equity"], Decimal(size["volume"])) == ("1000.00", "100000", 5)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"risk_percent": "1"}, "risk_amount"),
        ({"risk_amount": None}, "risk_amount"),
        ({"risk_amount": None, "risk_percent": "101"}, "risk_percent"),
        ({"stop_loss": "1.05"}, "stop_loss"),
        ({"stop_points": None}, "stop_loss"),
        ({"stop_points": None, "stop_loss": "1.2"}, "stop_loss"),
        ({"stop_points": 2_000_000}, "stop_points"),
        ({"symbol": "NOPE"}, "symbol"),
    ],
)
async def test_a_size_that_cannot_be_reckoned_names_the_field(
    api: Api, changes: dict[str, Any], field: str
) -> None:
    answer = await api.call("trader", "POST", "/api/trading/size", json=sizing(**changes))
    assert answer.status_code == 422
    assert field in {fault["field"] for fault in answer.json()["errors"]}
