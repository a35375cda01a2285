"""A real night: recorded quotes, with everything that happens on an account between two looks at it."""

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from brokers.simulator.faults import ManualClose, MoneyBooked, SwapCharged
from brokers.simulator.market import Side as SimulatedSide
from brokers.simulator.recordings import RecordedTick, read_recording
from db.trades import Trade
from domain.money import Price
from domain.reconciliation import Verdict
from tests.desk import Desk
from tests.reconciling import causes_of, discrepancies_of, entered, reconcile, run_row

RECORDING = Path(__file__).parents[3] / "shared" / "data" / "ticks" / "EURUSD-histdata-2020-01-01.csv"
# One look every so many quotes.
LOOK_EVERY = 1_500
STOP_DISTANCE = Decimal("0.00030")


@pytest.mark.skipif(not RECORDING.exists(), reason=f"needs the recorded quotes of {RECORDING}")
async def test_a_real_night_is_explained_to_the_cent_and_stops_nothing(desk: Desk) -> None:
    desk.control.hold_market("EURUSD")
    ticks = read_recording(RECORDING)
    await reconcile(desk)
    causes: Counter[str] = Counter()
    verdicts = set()
    by_hand = None

    for number, tick in enumerate(ticks):
        desk.control.tick("EURUSD", tick.bid, tick.ask)
        if number % LOOK_EVERY == 0:
            await _open(desk, tick)
            by_hand = by_hand or desk.control.manual_trade("EURUSD", SimulatedSide.BUY, "0.05")
        if number == 2 * LOOK_EVERY:
            desk.control.happen(SwapCharged(nights=1))
            desk.control.happen(MoneyBooked(money="balance", amount=Decimal("2500.00")))
        if number == 3 * LOOK_EVERY:
            desk.control.happen(ManualClose(ticket=by_hand), symbol="EURUSD")
        if number % LOOK_EVERY == LOOK_EVERY // 2:
            concluded = await reconcile(desk)
            causes.update(await causes_of(desk, concluded.run_id))
            verdicts.add(concluded.verdict)
    concluded = await reconcile(desk)
    causes.update(await causes_of(desk, concluded.run_id))

    assert {"stop_loss_exit", "swap", "commission", "manual_trade", "deposit"} <= causes.keys()
    assert verdicts <= {Verdict.CLEAN, Verdict.EXPLAINED}
    totals = (await run_row(desk, concluded.run_id))["totals"]
    assert totals["balance"] == totals["balance_books"]
    assert await entered(desk, "unexplained") == []
    assert await discrepancies_of(desk) == []
    assert await desk.scalar("SELECT count(*) FROM emergency_stops") == 0


async def _open(desk: Desk, tick: RecordedTick) -> Trade:
    """Buy with a stop loss that the night will reach sooner or later."""
    intent = desk.intent(stop_loss=Price(tick.bid - STOP_DISTANCE))
    await desk.execute(intent)
    return await desk.settled(intent)
