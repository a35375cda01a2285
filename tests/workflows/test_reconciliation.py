"""The reconciliation whole: what no record explains is corrected, put to a person, or stops trading."""

from decimal import Decimal

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowUpdateFailedError

from brokers.simulator.faults import DealAmended
from brokers.simulator.market import Side as SimulatedSide
from domain.discrepancies import Decision
from domain.orders import OrderState, OrderType
from domain.reconciliation import RunCause, Verdict
from tests.desk import Desk
from tests.factories import lots, price
from tests.reconciling import causes_of, decide, discrepancies_of, entered, reconcile, run_row
from tests.waiting import until
from tests.workflows.asking import broken_laws
from tests.workflows.holding import open_position
from workflows.reconciliation_messages import discrepancy_workflow_id


async def test_books_that_agree_are_clean(desk: Desk) -> None:
    opened = await reconcile(desk, cause=RunCause.STARTUP)
    again = await reconcile(desk)

    assert await causes_of(desk, opened.run_id) == {"deposit": 1}
    assert again.verdict is Verdict.CLEAN
    row = await run_row(desk, again.run_id)
    assert row["totals"]["balance"] == row["totals"]["balance_books"] == "100000"
    assert await discrepancies_of(desk) == []


async def test_money_that_no_record_explains_is_corrected_once(desk: Desk) -> None:
    await reconcile(desk)
    desk.control.slip_money("-42.17")

    found = await reconcile(desk)
    again = await reconcile(desk)

    assert (found.verdict, again.verdict) == (Verdict.CORRECTED, Verdict.CLEAN)
    assert await entered(desk, "unexplained") == [Decimal("42.17")]
    (row,) = await discrepancies_of(desk)
    assert (row["kind"], row["state"], row["impact_usd"]) == ("balance", "corrected", Decimal("42.17"))
    assert await broken_laws(desk) == []


async def test_a_late_record_takes_the_correction_back(desk: Desk) -> None:
    await reconcile(desk)
    desk.control.slip_money("-42.17")
    await reconcile(desk)

    desk.control.record_late("-42.17", ago_ms=5_000)
    concluded = await reconcile(desk)

    assert await causes_of(desk, concluded.run_id) == {"late_deal": 1, "withdrawal": 1}
    assert await entered(desk, "unexplained") == [Decimal("42.17"), Decimal("-42.17")]
    (row,) = await discrepancies_of(desk)
    assert (row["state"], row["cause"]) == ("explained", "late_deal")
    assert (await reconcile(desk)).verdict is Verdict.CLEAN


async def test_money_for_a_person_waits_until_it_is_accepted(desk: Desk) -> None:
    await reconcile(desk)
    desk.control.slip_money("250")
    concluded = await reconcile(desk)
    (waiting,) = concluded.reviews
    assert concluded.verdict is Verdict.REVIEW
    assert await broken_laws(desk) == []

    await decide(desk, waiting, Decision.DISPUTE)
    assert (await reconcile(desk)).reviews == (waiting,)
    await decide(desk, waiting, Decision.ACCEPT, reason="a bonus told by mail")

    assert (await reconcile(desk)).verdict is Verdict.CLEAN
    assert await entered(desk, "unexplained") == [Decimal(-250)]
    (row,) = await discrepancies_of(desk)
    assert (row["state"], row["decided_by"], row["reason"]) == ("accepted", "user:risk", "a bonus told by mail")
    await _ended(desk, row)


async def test_what_a_record_explains_later_waits_for_nobody(desk: Desk) -> None:
    await reconcile(desk)
    desk.control.slip_money("250")
    (waiting,) = (await reconcile(desk)).reviews

    desk.control.record_late("250", ago_ms=5_000)
    concluded = await reconcile(desk)

    assert concluded.ended == (waiting,)
    (row,) = await discrepancies_of(desk)
    assert (row["state"], row["cause"]) == ("explained", "late_deal")
    await _ended(desk, row)


async def test_a_lot_that_nobody_can_explain_stops_trading_until_it_is_adopted(desk: Desk) -> None:
    await reconcile(desk)
    desk.control.slip_position("EURUSD", "0.10")

    concluded = await reconcile(desk)

    assert concluded.verdict is Verdict.STOPPED
    (found,) = await discrepancies_of(desk)
    assert (found["kind"], found["state"], found["tier"]) == ("position_unknown", "open", "stop")
    assert (await desk.execute(desk.intent())).state is OrderState.DENIED
    (stop,) = await desk.rows("SELECT * FROM emergency_stops")
    assert (stop["cause"], stop["scope"], stop["mode"]) == ("unexplained_difference", "account", "halted")

    await decide(desk, found["id"], Decision.ADOPT)
    assert (await reconcile(desk)).verdict is Verdict.CLEAN


async def test_a_position_that_nobody_wants_is_closed_through_the_stop(desk: Desk) -> None:
    await reconcile(desk)
    desk.control.slip_position("EURUSD", "0.10")
    (waiting,) = (await reconcile(desk)).reviews

    await decide(desk, waiting, Decision.CLOSE)

    async def flat() -> bool:
        return desk.control.books().positions == ()

    await until(flat, what="the position to be closed")
    trade = await desk.scalar("SELECT client_order_id FROM trade_ledger")
    assert trade == f"discrepancy-{waiting.hex[:16]}"
    # The record of its close waits a little for one that opened it, and nothing is made of that.
    assert (await reconcile(desk)).reviews == ()

    async def agreed() -> bool:
        return (await reconcile(desk)).verdict in {Verdict.CLEAN, Verdict.EXPLAINED}

    await until(agreed, what="books that agree")


async def test_a_decision_that_does_not_fit_is_refused_and_changes_nothing(desk: Desk) -> None:
    await reconcile(desk)
    desk.control.slip_money("250")
    (waiting,) = (await reconcile(desk)).reviews

    with pytest.raises(WorkflowUpdateFailedError):
        await decide(desk, waiting, Decision.ADOPT)

    (row,) = await discrepancies_of(desk)
    assert (row["state"], row["decision"]) == ("open", None)


async def test_a_missed_fill_is_booked_and_wakes_its_trade(unfollowed_desk: Desk) -> None:
    desk = unfollowed_desk
    await reconcile(desk)
    desk.control.hold_market("EURUSD")
    limit = desk.intent(order_type=OrderType.LIMIT, price=price("1.09000"))
    assert (await desk.execute(limit)).state is OrderState.WORKING
    desk.control.tick("EURUSD", "1.08980", "1.08990")

    concluded = await reconcile(desk)

    assert await causes_of(desk, concluded.run_id) == {"missed_fill": 1, "commission": 1}
    await desk.becomes(limit, OrderState.FILLED)


async def test_a_record_that_the_broker_has_changed_is_booked_anew(unfollowed_desk: Desk) -> None:
    desk = unfollowed_desk
    desk.control.manual_trade("EURUSD", SimulatedSide.BUY, "0.01")
    await reconcile(desk)
    desk.control.happen(DealAmended(commission=Decimal("-3.21")), symbol="EURUSD")

    concluded = await reconcile(desk)

    assert (await causes_of(desk, concluded.run_id))["correction"] == 1
    assert concluded.verdict is Verdict.EXPLAINED
    assert (await reconcile(desk)).verdict is Verdict.CLEAN


async def test_an_order_of_ours_that_no_trade_has_is_flagged_and_a_foreign_one_left_alone(desk: Desk) -> None:
    await reconcile(desk)
    limit = desk.intent(order_type=OrderType.LIMIT, price=price("1.05000"))
    await desk.execute(limit)
    async with desk.engine.begin() as connection:
        # As after a restore of older books: the order rests at the broker, and its trade has ended here.
        await connection.exec_driver_sql("ALTER TABLE trade_ledger DISABLE TRIGGER USER")
        await connection.exec_driver_sql("UPDATE trade_ledger SET state = 'cancelled', closed_at = now()")
        await connection.exec_driver_sql("ALTER TABLE trade_ledger ENABLE TRIGGER USER")

    async def flagged() -> bool:
        await reconcile(desk)
        return [row["kind"] for row in await discrepancies_of(desk, state="open")] == ["order_unknown"]

    await until(flagged, what="the order to be flagged")
    (row,) = await discrepancies_of(desk)
    assert (row["tier"], row["evidence"]["told"]) == ("review", "buy 0.1 EURUSD")
    assert len([order for order in desk.control.books().orders if order.state == 1]) == 1


async def test_what_is_in_flight_is_kept_out_and_looked_at_again(desk: Desk) -> None:
    await reconcile(desk)
    _, position_id = await open_position(desk)
    desk.control.slip_position("EURUSD", "0.20", ticket=position_id)
    async with desk.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE trade_ledger DISABLE TRIGGER USER")
        await connection.exec_driver_sql("UPDATE trade_ledger SET state = 'unresolved', closed_at = NULL")
        await connection.exec_driver_sql("ALTER TABLE trade_ledger ENABLE TRIGGER USER")

    concluded = await reconcile(desk)

    assert concluded.verdict is Verdict.WAITING
    (row,) = await discrepancies_of(desk)
    assert (row["kind"], row["state"]) == ("position_volume", "kept_out")
    assert (row["ours"], row["theirs"]) == (lots("0.10"), lots("0.20"))


async def test_a_broker_that_cannot_be_read_changes_nothing(desk: Desk) -> None:
    await reconcile(desk)
    desk.control.slip_position("EURUSD", "0.10")
    desk.control.set_switches(connected=False)

    concluded = await reconcile(desk)

    assert concluded.verdict is Verdict.INCONCLUSIVE
    row = await run_row(desk, concluded.run_id)
    assert "no link to the broker" in row["reason"]
    assert await discrepancies_of(desk) == []


async def _ended(desk: Desk, row: dict[str, object]) -> None:
    handle = desk.client.get_workflow_handle(discrepancy_workflow_id(row["id"]))  # type: ignore[arg-type] # a row

    async def over() -> bool:
        return (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED

    await until(over, what="the discrepancy's workflow to end")
