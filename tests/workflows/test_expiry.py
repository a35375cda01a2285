"""A reservation that nobody will end expires; one that may be at the broker, or is carried on, never does."""

from datetime import timedelta

import pytest

from activities.reservation_sweeper import GRACE, ReservationSweeper
from db.trades import Trade
from domain.orders import OrderState
from tests.desk import Desk, now
from tests.waiting import until
from tests.workflows.asking import reservation_state
from workflows.trade import TradeWorkflow
from workflows.trade_messages import TradeInput, start_options


async def reserved(desk: Desk) -> Trade:
    """A trade that is reserved, and waits for a sender of another account that nobody serves."""
    intent = desk.intent(submit_by=now() + timedelta(minutes=5))
    trade = TradeInput(intent=intent, account_slug="nobody")
    await desk.client.start_workflow(TradeWorkflow.run, trade, **start_options(trade))

    async def held() -> bool:
        return await reservation_state(desk, intent) == "held"

    await until(held, what="the reservation")
    return await desk.trade(intent)


def sweeper(desk: Desk, *, later: timedelta = timedelta(minutes=5) + 2 * GRACE) -> ReservationSweeper:
    return ReservationSweeper(desk.database.engine("pipeline"), desk.client, now=lambda: now() + later)


async def test_a_trade_whose_workflow_was_terminated_before_its_send_is_denied_and_freed(desk: Desk) -> None:
    trade = await reserved(desk)
    assert await sweeper(desk).sweep() == 0, "its workflow runs"

    await desk.client.get_workflow_handle(trade.workflow_id).terminate("by an operator")
    assert await sweeper(desk, later=timedelta(0)).sweep() == 0, "its deadline has not passed"
    assert await sweeper(desk).sweep() == 1

    ended = await desk.trade(trade.intent)
    assert (ended.state, ended.progress.reason) == (OrderState.DENIED, "reservation_expired")
    assert ended.progress.closed_at is not None
    assert await reservation_state(desk, trade.intent) == "expired"
    assert await desk.scalar("SELECT held_loss FROM exposure_totals") == 0
    assert await sweeper(desk).sweep() == 0


@pytest.mark.parametrize("change", ["claimed", "recovered"])
async def test_what_may_be_at_the_broker_never_expires(desk: Desk, change: str) -> None:
    trade = await reserved(desk)
    await desk.client.get_workflow_handle(trade.workflow_id).terminate("by an operator")
    async with desk.engine.begin() as connection:
        if change == "claimed":
            await connection.exec_driver_sql(
                "INSERT INTO send_attempts (trade_id, number, account_id, magic, lease_number)"
                f" SELECT id, 1, account_id, magic, 1 FROM trade_ledger WHERE id = '{trade.id}'"
            )
        else:
            await connection.exec_driver_sql("UPDATE risk_reservations SET recovered = true")

    assert await sweeper(desk).sweep() == 0
    assert await reservation_state(desk, trade.intent) == "held"
