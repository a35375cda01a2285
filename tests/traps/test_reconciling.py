"""The trap: a reconciliation that trusts one side, trusts silence, or mends the same thing twice."""

from decimal import Decimal

import pytest

from activities.concluding import ConcludingActivities
from activities.conclusions import ConcludeRun
from brokers.simulator.faults import DealAmended, ManualClose, MoneyBooked, QueryFailure, SwapCharged
from brokers.simulator.market import Side as SimulatedSide
from domain.orders import OrderState
from domain.reconciliation import (
    Difference,
    DifferenceKind,
    RunCause,
    Thresholds,
    Verdict,
    discrepancy_id,
)
from tests.desk import Desk, now
from tests.factories import NOW
from tests.reconciling import causes_of, discrepancies_of, entered, reconcile, run_row, settle
from tests.waiting import until


@pytest.mark.parametrize("query", ["positions_get", "orders_get", "history_deals_get", "account_info"])
async def test_a_query_that_fails_is_never_read_as_flat(shared_desk: Desk, query: str) -> None:
    """Trap 6: an error or None changes no state."""
    desk = shared_desk
    ticket = desk.control.manual_trade("EURUSD", SimulatedSide.BUY, "0.01")

    async def booked() -> bool:
        return bool(await desk.scalar("SELECT count(*) FROM fills WHERE position_id = :id", id=ticket))

    await until(booked, what="the position to be booked")
    await reconcile(desk)
    before = await desk.rows("SELECT * FROM current_fills ORDER BY ticket")
    desk.control.script("*", [QueryFailure()], op=query, repeat=True)

    concluded = await reconcile(desk)

    desk.control.clear_faults()
    assert concluded.verdict is Verdict.INCONCLUSIVE
    assert "the broker could not be read" in (await run_row(desk, concluded.run_id))["reason"]
    assert await desk.rows("SELECT * FROM current_fills ORDER BY ticket") == before
    assert await discrepancies_of(desk, last_run_id=concluded.run_id) == []
    assert await desk.scalar("SELECT count(*) FROM emergency_stops") == 0
    desk.control.happen(ManualClose(ticket=ticket), symbol="EURUSD")


async def test_a_position_on_one_side_alone_is_found_from_either_side(shared_desk: Desk) -> None:
    """Trap 7: both sides are walked."""
    desk = shared_desk
    ours = desk.control.manual_trade("EURUSD", SimulatedSide.BUY, "0.01")
    await _at_rest(desk)
    desk.control.slip_position("EURUSD", "0", ticket=ours)
    theirs = desk.control.slip_position("EURUSD", "0.02")

    concluded = await reconcile(desk)

    found = await discrepancies_of(desk, first_run_id=concluded.run_id)
    assert {(row["kind"], row["number"], row["ours"], row["theirs"]) for row in found} == {
        ("position_missing", ours, Decimal("0.01"), None),
        ("position_unknown", theirs, None, Decimal("0.02")),
    }
    await settle(desk)


async def test_a_position_older_than_every_record_that_is_read_stays_as_it_is(shared_desk: Desk) -> None:
    """Trap 8: what was accepted once is no news after a restart, though no record of it is read any more."""
    desk = shared_desk
    await _at_rest(desk)
    desk.control.slip_position("EURUSD", "0.01")
    await reconcile(desk)
    await settle(desk)

    again = await reconcile(desk, cause=RunCause.STARTUP)

    assert again.verdict is Verdict.CLEAN
    assert await desk.scalar("SELECT count(*) FROM trade_ledger WHERE state <> 'denied'") == 0


async def test_two_runs_in_a_row_and_a_crash_between_them_give_one_correction(shared_desk: Desk) -> None:
    """Trap 9: under the same id."""
    desk = shared_desk
    await _at_rest(desk)
    before = await entered(desk, "unexplained")
    desk.control.slip_money("-10.00")
    first = await reconcile(desk)
    step = await _concluded_step(desk, first.run_id)

    # The answer of the first was lost: its worker died behind the commit, and another does it again.
    concluding = ConcludingActivities(
        desk.database.engine("pipeline"), thresholds=Thresholds(), stop_all=False, now=now
    )
    repeated = await concluding.conclude_run(step)
    second = await reconcile(desk)

    assert (first.verdict, repeated.verdict) == (Verdict.CORRECTED, Verdict.CORRECTED)
    assert second.verdict is Verdict.CLEAN
    assert await entered(desk, "unexplained") == [*before, Decimal("10.00")]
    (row,) = await discrepancies_of(desk, first_run_id=first.run_id)
    assert row["id"] == discrepancy_id(first.run_id, step.found[0])


async def test_the_bounds_of_the_tiers_are_exact_and_small_ones_add_up(shared_desk: Desk) -> None:
    """Trap 23: 99.99, 100.00, 100.01, 500.00, 500.01, and many small ones of one day."""
    desk = shared_desk
    await _at_rest(desk)
    await settle(desk)
    verdicts = {}
    for amount in ("99.99", "100.00", "100.01", "500.00", "500.01"):
        desk.control.slip_money(amount)
        verdicts[amount] = (await reconcile(desk)).verdict
        await settle(desk)
    assert verdicts == {
        "99.99": Verdict.CORRECTED,
        "100.00": Verdict.REVIEW,
        "100.01": Verdict.REVIEW,
        "500.00": Verdict.REVIEW,
        "500.01": Verdict.STOPPED,
    }

    several = []
    for amount in ("40", "-40", "20"):
        desk.control.slip_money(amount)
        several.append((await reconcile(desk)).verdict)
    assert several == [Verdict.CORRECTED, Verdict.CORRECTED, Verdict.REVIEW]
    await settle(desk)


async def test_opposite_differences_of_two_symbols_do_not_cancel(shared_desk: Desk) -> None:
    """Trap 23: what cancels in the total still counts by symbol."""
    desk = shared_desk
    held = {name: desk.control.manual_trade(name, SimulatedSide.BUY, "0.05") for name in ("EURUSD", "GBPUSD")}
    await _at_rest(desk)
    desk.control.slip_position("EURUSD", "0.06", ticket=held["EURUSD"])
    desk.control.slip_position("GBPUSD", "0.04", ticket=held["GBPUSD"])

    concluded = await reconcile(desk)

    found = await discrepancies_of(desk, first_run_id=concluded.run_id)
    changed = {row["symbol"]: row["theirs"] - row["ours"] for row in found}
    assert changed == {"EURUSD": Decimal("0.01"), "GBPUSD": Decimal("-0.01")}
    assert concluded.verdict is Verdict.STOPPED
    await settle(desk)


async def test_money_that_is_no_trading_is_explained_and_stops_nothing(shared_desk: Desk) -> None:
    """Trap 26: corrections, commissions, swaps, deposits and credits are no losses, and no differences."""
    desk = shared_desk
    await _at_rest(desk)
    ticket = desk.control.manual_trade("EURUSD", SimulatedSide.BUY, "0.01")
    desk.control.happen(SwapCharged(nights=3))
    desk.control.happen(DealAmended(commission=Decimal("-9.00")), symbol="EURUSD")
    for money, amount in (("balance", "-30000"), ("credit", "500"), ("correction", "-800"), ("charge", "-700")):
        desk.control.happen(MoneyBooked(money=money, amount=Decimal(amount)))
    desk.control.happen(ManualClose(ticket=ticket), symbol="EURUSD")
    before = await desk.scalar("SELECT count(*) FROM emergency_stops")

    concluded = await reconcile(desk)

    assert concluded.verdict is Verdict.EXPLAINED
    named = {"manual_trade", "commission", "swap", "withdrawal", "credit", "correction", "fee"}
    assert named <= set(await causes_of(desk, concluded.run_id))
    assert await discrepancies_of(desk, first_run_id=concluded.run_id) == []
    assert await desk.scalar("SELECT count(*) FROM emergency_stops") == before
    assert (await desk.execute(desk.intent())).state is OrderState.FILLED


async def _at_rest(desk: Desk) -> None:
    """Wait until everything at the broker is in the books, and agrees."""

    async def agrees() -> bool:
        return (await reconcile(desk)).verdict in {Verdict.CLEAN, Verdict.EXPLAINED}

    await until(agrees, what="books that agree")


async def _concluded_step(desk: Desk, run_id: object) -> ConcludeRun:
    """What a run concluded from, made again from its row."""
    (run,) = await desk.rows("SELECT * FROM reconciliation_log WHERE id = :id", id=run_id)
    (row,) = await discrepancies_of(desk, first_run_id=run_id)
    found = Difference(
        kind=DifferenceKind(row["kind"]),
        subject=row["subject"],
        ours=row["ours"],
        theirs=row["theirs"],
        impact=row["impact_usd"],
    )
    return ConcludeRun(
        run_id=run["id"],
        account_slug=desk.slug,
        cause=RunCause.REQUEST,
        began_at=NOW,
        read_at=run["read_at"],
        watermark=run["watermark"],
        found=(found,),
    )
