"""A trade from intent to settlement, on real parts."""

from decimal import Decimal

from brokers.simulator.faults import Hang, Reject
from domain.orders import OrderState
from tests.desk import Desk
from workflows.trade import TradeWorkflow
from workflows.trade_messages import ResolveTrade


async def test_market_order_is_filled_and_booked_once(desk: Desk) -> None:
    intent = desk.intent()

    ack = await desk.execute(intent)

    assert (ack.state, ack.body_hash) == (OrderState.FILLED, intent.body_hash)
    trade = await desk.trade(intent)
    assert trade.progress.filled_volume == Decimal("0.10")
    assert trade.progress.closed_at is not None
    fills = await desk.rows("SELECT * FROM fills WHERE trade_id = :id", id=intent.trade_id)
    assert [(f["entry"], f["volume"]) for f in fills] == [("in", Decimal("0.10"))]
    sends = [send for send in desk.control.books().sends if send.magic == trade.progress.magic]
    assert len(sends) == 1


async def test_a_person_ends_an_unresolved_trade_before_the_quiet_window_does(patient_desk: Desk) -> None:
    desk = patient_desk
    desk.control.script("EURUSD", [Hang(executed=False)])
    intent = desk.intent()
    handle, ack = await desk.open(intent)
    assert ack.state is OrderState.UNRESOLVED
    word = ResolveTrade(
        key="word",
        requested_by=desk.user_id,
        body_hash="word",
        broker_order_id=None,
        reason="the broker's desk was asked",
    )

    answer = await handle.execute_update(TradeWorkflow.resolve, word)

    assert (answer.outcome, answer.state) == ("done", OrderState.REJECTED)
    trade = await desk.settled(intent)
    assert trade.progress.reason == "decided_absent"
    decided = await desk.rows(
        "SELECT actor FROM audit_log WHERE detail->>'decided' = 'absent' AND subject = :subject",
        subject=f"trade:{trade.id}",
    )
    assert [row["actor"] for row in decided] == [f"user:{desk.user_id}"]


async def test_a_requote_is_followed_by_another_claim_under_the_same_number(desk: Desk) -> None:
    desk.control.script("EURUSD", [Reject(retcode=10004)])
    intent = desk.intent()

    ack = await desk.execute(intent)

    assert ack.state is OrderState.FILLED
    claims = await desk.rows(
        "SELECT number, outcome FROM send_attempts WHERE trade_id = :id ORDER BY number", id=intent.trade_id
    )
    assert [(claim["number"], claim["outcome"]) for claim in claims] == [(1, "rejected"), (2, "accepted")]
    magic = (await desk.trade(intent)).progress.magic
    assert len([send for send in desk.control.books().sends if send.magic == magic]) == 2
    assert desk.control.counts() == {magic: 1}


async def test_a_broker_that_only_requotes_is_taken_at_its_word_after_three(desk: Desk) -> None:
    desk.control.script("EURUSD", [Reject(retcode=10020)] * 5)
    intent = desk.intent()

    ack = await desk.execute(intent)

    assert ack.state is OrderState.REJECTED
    assert (await desk.settled(intent)).progress.reason == "price_changed"
    assert await desk.scalar("SELECT count(*) FROM send_attempts WHERE trade_id = :id", id=intent.trade_id) == 3
    assert desk.control.counts() == {}
