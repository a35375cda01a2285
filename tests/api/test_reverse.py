"""Reverse: one id, two trades, the second only behind a first that filled; a repeat gets the same pair."""

from decimal import Decimal
from typing import Any

import httpx
import pytest

from domain.money import Lots
from tests.api.books import count_rows, open_hedge, open_positions, position, show_positions
from tests.api.broker import REFUSED_VOLUME
from tests.api.conftest import Api, order
from tests.waiting import until

HELD, OTHER = 9_200_001, 9_200_002


async def reverse(api: Api, position_id: int, body: dict[str, Any]) -> httpx.Response:
    return await api.call("trader", "POST", f"/api/trading/positions/{position_id}/reverse", json=body)


async def opened(api: Api, client_order_id: str) -> int:
    """A long position of 0.30 lots, with its fills in the books, and shown."""
    trade = (await api.execute(order(client_order_id, volume="0.30"))).json()
    position_id: int = trade["fills"][0]["position_id"]
    await open_positions(api.database, position_id)
    return position_id


async def test_reverse_closes_and_opens_the_other_side_and_a_repeat_gets_the_same_pair(api: Api) -> None:
    position_id = await opened(api, "to-reverse-1")
    sent = len(api.broker.sent)
    body = {"client_order_id": "reverse-1", "stop_loss": "1.20000", "wait_ms": 10_000}

    answer = await reverse(api, position_id, body)
    again = await reverse(api, position_id, body)

    pair = answer.json()
    assert (answer.status_code, pair["state"], pair["reason"]) == (201, "done", None), pair
    closing, opening = pair["closing"], pair["opening"]
    assert (closing["client_order_id"], opening["client_order_id"]) == ("reverse-1", "reverse-1.open")
    assert [(t["side"], t["volume"], t["position_id"]) for t in (closing, opening)] == [
        ("sell", "0.30", position_id),
        ("sell", "0.30", None),
    ]
    assert (closing["state"], opening["state"], opening["stop_loss"]) == ("filled", "filled", "1.20000")
    assert [order.position_id for order in api.broker.sent[sent:]] == [position_id, None]
    assert (again.status_code, again.headers["Idempotent-Replay"]) == (201, "true")
    assert [again.json()[part]["id"] for part in ("closing", "opening")] == [closing["id"], opening["id"]]


async def test_other_body_under_the_same_id_is_409_and_changes_nothing(api: Api) -> None:
    position_id = await opened(api, "to-reverse-2")
    await reverse(api, position_id, {"client_order_id": "reverse-2"})
    sent = len(api.broker.sent)

    other = await reverse(api, position_id, {"client_order_id": "reverse-2", "volume": "0.10"})
    close = await api.call(
        "trader", "POST", f"/api/trading/positions/{position_id}/close", json={"client_order_id": "reverse-2"}
    )

    assert (other.status_code, other.json()["code"]) == (409, "client_order_id_conflict")
    assert (close.status_code, close.json()["code"]) == (409, "client_order_id_conflict")
    assert len(api.broker.sent) == sent


async def test_nothing_is_closed_if_the_id_of_the_opening_order_is_taken(api: Api) -> None:
    position_id = await opened(api, "to-reverse-3")
    await api.execute(order("reverse-3.open"))
    sent = len(api.broker.sent)

    answer = await reverse(api, position_id, {"client_order_id": "reverse-3"})

    assert (answer.status_code, answer.json()["code"]) == (409, "client_order_id_conflict")
    assert len(api.broker.sent) == sent


async def test_nothing_is_opened_behind_a_close_that_the_broker_refuses(api: Api) -> None:
    await open_hedge(api.database, long=HELD, short=OTHER)
    await show_positions(api.database, position(HELD, volume=REFUSED_VOLUME))

    answer = await reverse(api, HELD, {"client_order_id": "reverse-4", "volume": "0.10", "wait_ms": 10_000})

    pair = answer.json()
    assert (answer.status_code, pair["state"], pair["reason"]) == (201, "not_opened", "close_rejected"), pair
    assert (pair["closing"]["state"], pair["opening"]) == ("rejected", None)


async def test_202_while_the_close_is_not_decided_and_201_once_both_are(api: Api) -> None:
    position_id = await opened(api, "to-reverse-5")
    body = {"client_order_id": "reverse-5", "wait_ms": 0}
    api.broker.open_for_business.clear()
    try:
        early = await reverse(api, position_id, body)
    finally:
        api.broker.open_for_business.set()

    assert (early.status_code, early.json()["state"], early.json()["opening"]) == (202, "closing", None)

    async def done() -> bool:
        return (await reverse(api, position_id, body)).status_code == 201

    await until(done, what="the reversal to be decided")
    assert (await reverse(api, position_id, body)).json()["state"] == "done"


async def test_nothing_is_opened_if_another_order_takes_its_id_meanwhile(api: Api) -> None:
    position_id = await opened(api, "to-reverse-8")
    body = {"client_order_id": "reverse-8", "wait_ms": 0}
    api.broker.open_for_business.clear()
    try:
        assert (await reverse(api, position_id, body)).json()["state"] == "closing"
        await api.execute(order("reverse-8.open", wait_ms=0))
    finally:
        api.broker.open_for_business.set()

    async def closed() -> bool:
        return bool((await reverse(api, position_id, body)).json()["closing"]["state"] == "filled")

    await until(closed, what="the close to be filled")
    answer = await reverse(api, position_id, {**body, "wait_ms": 5_000})
    pair = answer.json()
    assert (answer.status_code, pair["state"], pair["reason"]) == (201, "not_opened", "opening_id_taken")
    assert pair["opening"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"client_order_id": "r" * 60}, "client_order_id"),
        ({"client_order_id": "reverse-6", "volume": "0.001"}, "volume"),
        ({"client_order_id": "reverse-6", "stop_loss": "1.1000001"}, "stop_loss"),
    ],
)
async def test_what_cannot_be_opened_is_refused_before_anything_is_closed(
    api: Api, body: dict[str, Any], field: str
) -> None:
    await open_hedge(api.database, long=HELD, short=OTHER)
    before = (await count_rows(api.database.engine("owner")))["trade_ledger"]

    answer = await reverse(api, HELD, body)

    assert answer.status_code == 422, answer.json()
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    # Other tables may still move by the trades of the tests before.
    assert (await count_rows(api.database.engine("owner")))["trade_ledger"] == before


async def test_a_position_that_is_not_open_is_404(api: Api) -> None:
    await show_positions(api.database, position(OTHER, volume=Lots(Decimal("0.10"))))
    answer = await reverse(api, HELD, {"client_order_id": "reverse-7"})
    assert (answer.status_code, answer.json()["code"]) == (404, "position_not_found")
