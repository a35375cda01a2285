"""Cancel and modify: once per key, never on another's trade, never on a trade that is over."""

import time

import pytest

from tests.api.books import count_rows
from tests.api.conftest import Api, bearer, elsewhere, order, running, silent_server
from tests.waiting import free_port, until

LIMIT = {"type": "limit", "price": "1.05000", "stop_loss": "1.04000"}


async def resting(api: Api, client_order_id: str) -> str:
    answer = await api.execute(order(client_order_id, **LIMIT))
    assert answer.json()["state"] == "working", answer.json()
    return answer.json()["id"]


async def test_cancel_ends_a_resting_order(api: Api) -> None:
    trade_id = await resting(api, "cancel-1")
    answer = await api.call(
        "trader", "POST", f"/api/trading/trades/{trade_id}/cancel", json={"client_order_id": "c-1"}
    )

    assert answer.status_code == 200, answer.json()
    assert answer.json()["command"] == {"key": "c-1", "kind": "cancel", "outcome": "done", "reason": None}
    assert answer.json()["trade"]["state"] == "cancelled"


async def test_cancel_again_under_its_key_gives_the_first_answer_for_ever(api: Api) -> None:
    trade_id = await resting(api, "cancel-2")
    path = f"/api/trading/trades/{trade_id}/cancel"
    first = await api.call("trader", "POST", path, headers={"Idempotency-Key": "c-2"})

    async def released() -> bool:
        trade = (await api.call("trader", "GET", f"/api/trading/trades/{trade_id}")).json()
        return trade["closed_at"] is not None and trade["reservation"]["state"] == "released"

    await until(released, what="the trade to settle")
    again = await api.call("trader", "POST", path, headers={"Idempotency-Key": "c-2"})
    other = await api.call("trader", "POST", path, headers={"Idempotency-Key": "c-3"})

    assert first.json()["command"] == again.json()["command"]
    assert (other.status_code, other.json()["code"]) == (409, "not_cancellable")


async def test_modify_changes_the_levels(api: Api) -> None:
    trade_id = await resting(api, "modify-1")
    path = f"/api/trading/trades/{trade_id}/modify"
    answer = await api.call("trader", "POST", path, json={"client_order_id": "m-1", "stop_loss": "1.04500"})

    assert answer.status_code == 200, answer.json()
    assert answer.json()["command"]["outcome"] == "done", answer.json()["command"]
    assert answer.json()["trade"]["stop_loss"] == "1.04500"


async def test_key_of_another_command_is_409(api: Api) -> None:
    trade_id = await resting(api, "modify-2")
    path = f"/api/trading/trades/{trade_id}"
    await api.call("trader", "POST", f"{path}/modify", json={"client_order_id": "k", "stop_loss": "1.04500"})
    other_body = await api.call(
        "trader", "POST", f"{path}/modify", json={"client_order_id": "k", "stop_loss": "1.04600"}
    )
    other_kind = await api.call("trader", "POST", f"{path}/cancel", json={"client_order_id": "k"})

    assert (other_body.status_code, other_body.json()["code"]) == (409, "idempotency_key_conflict")
    assert (other_kind.status_code, other_kind.json()["code"]) == (409, "idempotency_key_conflict")


async def test_command_to_a_finished_trade_is_409(api: Api) -> None:
    trade_id = (await api.execute(order("cancel-3"))).json()["id"]
    answer = await api.call(
        "trader", "POST", f"/api/trading/trades/{trade_id}/cancel", json={"client_order_id": "c"}
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "not_cancellable")


@pytest.mark.parametrize("verb", ["cancel", "modify"])
async def test_trade_of_another_is_404_like_one_that_is_not_there(api: Api, verb: str) -> None:
    trade_id = await resting(api, f"foreign-{verb}")
    body = {"client_order_id": "c", **({"stop_loss": "1.03"} if verb == "modify" else {})}
    for name, wanted in (("other", trade_id), ("trader", "00000000-0000-0000-0000-000000000000")):
        answer = await api.call(name, "POST", f"/api/trading/trades/{wanted}/{verb}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "trade_not_found")


async def test_risk_may_cancel_for_everybody_and_a_viewer_for_nobody(api: Api) -> None:
    trade_id = await resting(api, "cancel-4")
    path = f"/api/trading/trades/{trade_id}/cancel"
    refused = await api.call("viewer", "POST", path, json={"client_order_id": "c"})
    done = await api.call("risk", "POST", path, json={"client_order_id": "c"})

    assert (refused.status_code, refused.json()["code"]) == (403, "role_forbidden")
    assert done.json()["trade"]["state"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"client_order_id": "m"}, 422, "body"),
        ({"client_order_id": "m", "stop_loss": "-1"}, 422, "stop_loss"),
        ({"client_order_id": "m", "stop_loss": 1.04}, 422, "stop_loss"),
        ({"client_order_id": "m", "price": "0"}, 422, "price"),
        ({"client_order_id": "m", "volume": "0.2"}, 422, "volume"),
        ({"stop_loss": "1.03"}, 400, None),
    ],
)
async def test_bad_modification_is_refused_and_changes_nothing(
    api: Api, body: dict[str, object], status: int, field: str | None
) -> None:
    trade_id = (await api.call("trader", "GET", "/api/trading/trades?limit=1")).json()["items"][0]["id"]
    before = await count_rows(api.database.engine())
    answer = await api.call("trader", "POST", f"/api/trading/trades/{trade_id}/modify", json=body)

    assert answer.status_code == status, answer.json()
    if field is not None:
        assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert await count_rows(api.database.engine()) == before


WORD = {"client_order_id": "w", "verdict": "absent", "reason": "the broker's desk was asked"}


async def test_only_risk_and_admin_decide_what_became_of_a_send(api: Api) -> None:
    trade_id = await resting(api, "resolve-1")
    path = f"/api/trading/trades/{trade_id}/resolve"
    refused = await api.call("trader", "POST", path, json=WORD)
    known = await api.call("admin", "POST", path, json=WORD)

    assert (refused.status_code, refused.json()["code"]) == (403, "role_forbidden")
    assert (known.status_code, known.json()["code"]) == (409, "not_unresolved")


@pytest.mark.parametrize(
    "word",
    [
        {**WORD, "verdict": "taken"},
        {**WORD, "broker_order_id": 7},
        {**WORD, "verdict": "maybe"},
        {**WORD, "reason": ""},
    ],
)
async def test_an_incomplete_word_is_refused(api: Api, word: dict[str, object]) -> None:
    trade_id = (await api.call("trader", "GET", "/api/trading/trades?limit=1")).json()["items"][0]["id"]
    answer = await api.call("admin", "POST", f"/api/trading/trades/{trade_id}/resolve", json=word)

    assert answer.status_code == 422, answer.json()


async def test_command_without_the_workflow_server_is_503(api: Api) -> None:
    trade_id = await resting(api, "cancel-5")
    async with running(elsewhere(api.settings, address=f"127.0.0.1:{free_port()}")) as http:
        answer = await http.post(
            f"/api/trading/trades/{trade_id}/cancel", json={"client_order_id": "c"}, headers=bearer("trader")
        )

    assert (answer.status_code, answer.json()["code"]) == (503, "pipeline_unavailable")


async def test_command_to_a_workflow_server_that_hangs_is_503_within_a_second(api: Api) -> None:
    trade_id = await resting(api, "cancel-6")
    with silent_server() as address:
        async with running(elsewhere(api.settings, address=address)) as http:
            begun = time.monotonic()
            answer = await http.post(
                f"/api/trading/trades/{trade_id}/cancel", json={"client_order_id": "c"}, headers=bearer("trader")
            )
            took = time.monotonic() - begun

    assert (answer.status_code, answer.json()["code"]) == (503, "pipeline_unavailable")
    assert took < 1
