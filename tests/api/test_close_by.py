"""Close-by: one trade that names two positions of its caller; what cannot be is refused and changes nothing."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.api.books import FOREIGN, NOBODYS, count_rows, open_hedge, open_positions, position, show_positions
from tests.api.conftest import Api

LONG, SHORT = 9_100_001, 9_100_002


async def close_by(api: Api, position_id: int, body: dict[str, Any], *, name: str = "trader") -> httpx.Response:
    return await api.call(name, "POST", f"/api/trading/positions/{position_id}/close-by", json=body)


@pytest_asyncio.fixture(loop_scope="session")
async def hedge(api: Api) -> AsyncIterator[None]:
    await open_hedge(api.database, long=LONG, short=SHORT)
    yield


@pytest.mark.usefixtures("hedge")
async def test_close_by_is_one_order_against_both_positions_and_a_repeat_gets_it_again(api: Api) -> None:
    body = {"client_order_id": "close-by-1", "by_position_id": SHORT}

    answer = await close_by(api, LONG, body)
    sent = [order for order in api.broker.sent if order.close_by_position_id == SHORT]
    again = await close_by(api, LONG, body)

    trade = answer.json()
    assert answer.status_code == 201, trade
    assert (trade["side"], trade["volume"]) == ("sell", "0.20")
    assert (trade["position_id"], trade["close_by_position_id"]) == (LONG, SHORT)
    assert [(order.position_id, str(order.volume)) for order in sent] == [(LONG, "0.20")]
    assert (again.json()["id"], again.headers["Idempotent-Replay"]) == (trade["id"], "true")
    assert [order for order in api.broker.sent if order.close_by_position_id == SHORT] == sent


@pytest.mark.usefixtures("hedge")
async def test_another_partner_under_the_same_id_is_409(api: Api) -> None:
    await close_by(api, LONG, {"client_order_id": "close-by-2", "by_position_id": SHORT})
    other = await close_by(api, LONG, {"client_order_id": "close-by-2", "by_position_id": NOBODYS})
    assert (other.status_code, other.json()["code"]) == (409, "client_order_id_conflict")


@pytest.mark.usefixtures("hedge")
@pytest.mark.parametrize(
    ("position_id", "partner", "status", "told"),
    [
        (LONG, LONG, 422, "is the position itself"),
        (LONG, NOBODYS, 422, "both positions must have been opened by orders of yours"),
        (LONG, FOREIGN, 404, f"there is no open position {FOREIGN}"),
        (9_100_099, SHORT, 404, "there is no open position 9100099"),
    ],
    ids=["itself", "nobody's", "another user's", "not open"],
)
async def test_what_cannot_be_closed_by_another_is_refused_and_changes_nothing(
    api: Api, position_id: int, partner: int, status: int, told: str
) -> None:
    before = (await count_rows(api.database.engine("owner")))["trade_ledger"]

    answer = await close_by(api, position_id, {"client_order_id": "close-by-x", "by_position_id": partner})

    assert answer.status_code == status, answer.json()
    assert told in answer.text
    # Other tables may still move by the trades of the tests before.
    assert (await count_rows(api.database.engine("owner")))["trade_ledger"] == before


async def test_positions_of_one_side_are_refused(api: Api) -> None:
    await open_hedge(api.database, long=LONG, short=SHORT)
    await open_positions(api.database, LONG)
    answer = await close_by(api, LONG, {"client_order_id": "close-by-y", "by_position_id": 9_000_001})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "by_position_id", "message": "is on the same side: both are buy"}]


async def test_a_netting_account_refuses_by_its_name(api: Api) -> None:
    await show_positions(api.database, position(LONG), position(SHORT, symbol="XAUUSD"), account="second")

    answer = await close_by(api, LONG, {"client_order_id": "close-by-z", "by_position_id": SHORT}, name="twofold")

    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": "account", "message": "is a netting account, where no position can close another"}
    ]
