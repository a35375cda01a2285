"""Orders over REST: decided trades, repeats, conflicts, and a pipeline that is away."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import select

from db.tables import trade_ledger
from tests.api.books import count_rows, id_of
from tests.api.broker import REFUSED_VOLUME
from tests.api.conftest import Api, bearer, elsewhere, order, running, silent_server
from tests.waiting import free_port, until


async def test_market_order_is_answered_filled_with_everything_known_of_it(api: Api) -> None:
    answer = await api.execute(order("filled-1"))

    trade = answer.json()
    assert answer.status_code == 201, trade
    assert answer.headers["location"] == f"/api/trading/trades/{trade['id']}" == trade["links"]["self"]
    assert "idempotent-replay" not in answer.headers
    assert (trade["state"], trade["filled_volume"], trade["average_price"]) == ("filled", "0.10", "1.1")
    assert trade["account"] == "demo"
    assert trade["slippage"] == {
        "points": "0.00",
        "money": "0.00",
        "price_percent": "0.000000",
        "stop_percent": None,
    }
    assert trade["reservation"]["volume"] is not None
    assert [(fill["volume"], fill["commission"]) for fill in trade["fills"]] == [("0.10", "-0.35")]
    assert trade["links"]["temporal"] == (
        f"http://temporal.test/namespaces/default/workflows/trade-{id_of('trader')}-filled-1"
    )


async def test_limit_order_is_answered_working(api: Api) -> None:
    answer = await api.execute(order("working-1", type="limit", price="1.05000", stop_loss="1.04"))

    assert (answer.status_code, answer.json()["state"]) == (201, "working")
    assert answer.json()["fills"] == []


async def test_order_over_a_limit_is_a_denied_trade_with_its_reasons(api: Api) -> None:
    answer = await api.execute(order("denied-1", volume="45"))

    trade = answer.json()
    assert (answer.status_code, trade["state"]) == (201, "denied")
    denial = next(each for each in trade["denials"] if each["gate"] == "position_size")
    assert denial["limit"] == "2000000"
    assert float(denial["distance"]) > 0


async def test_a_trade_that_ended_before_the_books_were_put_back_is_named_and_not_sent_again(api: Api) -> None:
    ended = await api.temporal.start_workflow(
        "TradeWorkflow", id=f"trade-{id_of('trader')}-put-back-1", task_queue="nobody-polls-this"
    )
    await ended.terminate()
    before = await count_rows(api.database.engine("owner"))

    answer = await api.execute(order("put-back-1"))

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["retry"]) == (503, "trade_forgotten", "unsafe")
    assert await count_rows(api.database.engine("owner")) == before


async def test_order_that_the_broker_refuses_is_a_rejected_trade(api: Api) -> None:
    answer = await api.execute(order("rejected-1", volume=str(REFUSED_VOLUME)))

    assert (answer.status_code, answer.json()["state"]) == (201, "rejected")
    assert answer.json()["reason"] == "the broker refuses seven lots"


async def test_repeat_gets_the_first_trade_and_sends_nothing(api: Api) -> None:
    first = await api.execute(order("repeat-1"))
    sent = len(api.broker.sent)
    again = await api.execute(order("repeat-1", volume="0.1", wait_ms=100))

    assert again.status_code == 201
    assert again.headers["idempotent-replay"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert len(api.broker.sent) == sent


async def test_account_may_be_left_out_of_a_repeat(api: Api) -> None:
    first = await api.execute(order("repeat-2", account=...))
    again = await api.execute(order("repeat-2"))

    assert first.status_code == again.status_code == 201
    assert first.json()["id"] == again.json()["id"]


async def test_row_answers_a_repeat_after_the_workflow_is_forgotten(api: Api) -> None:
    first = await api.execute(order("forgotten-1"))
    async with running(elsewhere(api.settings, address=f"127.0.0.1:{free_port()}")) as http:
        again = await http.post("/api/trading/execute", json=order("forgotten-1"), headers=bearer("trader"))

    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])


async def test_other_body_under_the_same_id_is_409_and_changes_nothing(api: Api) -> None:
    await api.execute(order("conflict-1"))
    before = await count_rows(api.database.engine())
    answer = await api.execute(order("conflict-1", side="sell"))

    assert (answer.status_code, answer.json()["code"]) == (409, "client_order_id_conflict")
    assert await count_rows(api.database.engine()) == before


async def test_same_id_of_two_users_is_two_trades(api: Api) -> None:
    mine, other = await api.execute(order("same-1")), await api.execute(order("same-1"), name="other")

    assert mine.status_code == other.status_code == 201
    assert mine.json()["id"] != other.json()["id"]


async def test_fifty_parallel_posts_with_one_id_are_one_trade(api: Api) -> None:
    sent = len(api.broker.sent)
    answers = await asyncio.gather(*(api.execute(order("parallel-1", wait_ms=20_000)) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replay" not in answer.headers for answer in answers) == 1
    assert len(api.broker.sent) == sent + 1


async def test_parallel_posts_with_two_bodies_under_one_id_keep_to_the_first(api: Api) -> None:
    bodies = [order("race-1", volume=volume, wait_ms=20_000) for volume in ("0.10", "0.20") * 5]
    answers = await asyncio.gather(*(api.execute(body) for body in bodies))

    assert sorted({answer.status_code for answer in answers}) == [201, 409]
    stored = {answer.json()["volume"] for answer in answers if answer.status_code == 201}
    assert len(stored) == 1


async def test_202_when_the_wait_ends_before_the_decision_and_201_later(api: Api) -> None:
    api.broker.open_for_business.clear()
    try:
        answer = await api.execute(order("slow-1", wait_ms=0))
        waited = await api.execute(order("slow-1", wait_ms=500))
    finally:
        api.broker.open_for_business.set()
    later = await api.execute(order("slow-1", wait_ms=20_000))

    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    assert (waited.status_code, waited.headers["idempotent-replay"]) == (202, "true")
    assert answer.headers["location"] == later.headers["location"]
    assert (later.status_code, later.json()["state"]) == (201, "filled")


async def test_order_is_accepted_while_no_worker_runs_and_a_second_body_is_still_409(api: Api) -> None:
    """Before the books have the first trade, the history of its workflow tells which order was first."""
    idle = await api.namespace_without_workers()
    async with running(idle) as http:
        answers = [
            await http.post(
                "/api/trading/execute",
                json=order("early-1", volume=volume, wait_ms=500),
                headers=bearer("trader"),
            )
            for volume in ("0.10", "0.1", "0.20")
        ]
    first, again, other = answers

    assert (first.status_code, first.json()["state"]) == (202, "pending")
    assert (first.json()["volume"], first.json()["filled_volume"]) == ("0.10", "0")
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert (other.status_code, other.json()["code"]) == (409, "client_order_id_conflict")


async def test_key_may_come_by_header(api: Api) -> None:
    answer = await api.call(
        "trader",
        "POST",
        "/api/trading/execute",
        json=order(...),
        headers={"Idempotency-Key": '"header-1"'},
    )

    assert (answer.status_code, answer.json()["client_order_id"]) == (201, "header-1")


async def test_disabled_user_is_shut_out_at_once(api: Api) -> None:
    assert (await api.execute(order("gone-1"), name="gone")).status_code == 401


async def test_viewer_may_not_trade(api: Api) -> None:
    answer = await api.execute(order("viewer-1"), name="viewer")

    assert (answer.status_code, answer.json()["code"]) == (403, "role_forbidden")


async def test_workflow_server_away_is_503_within_a_second_and_nothing_is_done(api: Api) -> None:
    before = await count_rows(api.database.engine())
    async with running(elsewhere(api.settings, address=f"127.0.0.1:{free_port()}")) as http:
        begun = time.monotonic()
        answer = await http.post("/api/trading/execute", json=order("away-1"), headers=bearer("trader"))
        took = time.monotonic() - begun

    assert (answer.status_code, answer.json()["code"]) == (503, "pipeline_unavailable")
    assert (answer.headers["retry-after"], answer.json()["retry"]) == ("1", "after")
    assert took < 1
    assert await count_rows(api.database.engine()) == before


async def test_workflow_server_that_hangs_is_503_within_a_second(api: Api) -> None:
    with silent_server() as address:
        async with running(elsewhere(api.settings, address=address)) as http:
            begun = time.monotonic()
            answer = await http.post("/api/trading/execute", json=order("hang-1"), headers=bearer("trader"))
            took = time.monotonic() - begun

    assert answer.status_code == 503
    assert took < 1


async def test_trade_is_in_the_books_when_it_is_answered(api: Api) -> None:
    answer = await api.execute(order("durable-1"))

    async with api.database.engine().connect() as connection:
        state = await connection.scalar(
            select(trade_ledger.c.state).where(trade_ledger.c.id == answer.json()["id"])
        )
    assert state == "filled"


async def test_trade_settles_after_its_answer(api: Api) -> None:
    trade_id = (await api.execute(order("settles-1"))).json()["id"]

    async def settled() -> bool:
        trade = (await api.call("trader", "GET", f"/api/trading/trades/{trade_id}")).json()
        return trade["closed_at"] is not None and trade["reservation"]["state"] == "settled"

    await until(settled, what="the trade to settle")


async def test_c6_request_that_comes_behind_its_deadline_is_refused_and_nothing_is_sent(api: Api) -> None:
    sent = len(api.broker.sent)
    late = {"X-Deadline": (datetime.now(UTC) - timedelta(milliseconds=1)).isoformat()}
    body = order(f"late-{uuid4().hex}")

    answer = await api.call("trader", "POST", "/api/trading/execute", json=body, headers=late)

    assert (answer.status_code, answer.json()["code"], answer.json()["retry"]) == (409, "deadline_passed", "safe")
    assert len(api.broker.sent) == sent
    in_time = {"X-Deadline": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
    answer = await api.call("trader", "POST", "/api/trading/execute", json=body, headers=in_time)
    assert answer.status_code == 201, answer.json()
    unclear = {"X-Deadline": "soon"}
    answer = await api.call("trader", "POST", "/api/trading/execute", json=body, headers=unclear)
    assert answer.status_code == 422
