"""The trap: a kill switch for fair weather alone. What rests, what is not ours, a restart, a closed market."""

from decimal import Decimal

import pytest
from temporalio.client import Client

from brokers.simulator.market import Side as SimulatedSide
from db import stops
from domain.controls import ControlScope
from domain.orders import OrderState, OrderType, Side
from tests.desk import Desk, broker_worker, pipeline_worker
from tests.factories import lots, price
from tests.waiting import until
from tests.workflows.asking import broken_laws
from tests.workflows.stopping import carry_on, ended, latch, make_stop, resume


async def shown(desk: Desk, count: int) -> None:
    async def as_many() -> bool:
        return bool(await desk.scalar("SELECT count(*) = :n FROM broker_positions", n=count))

    await until(as_many, what=f"{count} positions to be shown")


async def another_client(desk: Desk) -> Client:
    """A connection of its own to the same server, as another process has."""
    return await Client.connect(
        desk.client.service_client.config.target_host,
        namespace=desk.client.namespace,
        data_converter=desk.client.data_converter,
    )


async def test_a_stop_meets_resting_orders_a_hedged_pair_manual_positions_and_a_closed_market(
    shared_desk: Desk,
) -> None:
    desk = shared_desk
    long, short = desk.intent(), desk.intent(side=Side.SELL)
    resting = desk.intent(order_type=OrderType.LIMIT, price=price("1.00000"))
    elsewhere = desk.intent(symbol="GBPUSD", volume=lots("0.20"))
    for intent in (long, short, elsewhere):
        await desk.execute(intent)
        await desk.settled(intent)
    await desk.execute(resting)
    by_hand = desk.control.manual_trade("EURUSD", SimulatedSide.BUY, "0.05")
    await shown(desk, 4)
    desk.control.set_symbol("GBPUSD", session_open=False)
    stop = make_stop()

    await latch(desk, stop)
    await carry_on(desk, stop)

    async def all_but_the_closed_market() -> bool:
        return {position.symbol for position in desk.control.books().positions if position.magic} == {"GBPUSD"}

    await until(all_but_the_closed_market, what="what can be closed to be closed")
    desk.control.set_symbol("GBPUSD", session_open=True)
    progress = await ended(desk, stop)

    (left,) = desk.control.books().positions
    assert left.ticket == by_hand, "the owner's own is left alone"
    assert any(str(by_hand) in told for told in progress.certificate["left"]), "and the certificate says so"
    assert (await desk.becomes(resting, OrderState.CANCELLED)).progress.filled_volume == 0
    closes = progress.certificate["closes"]
    assert {Decimal(close["filled_volume"]) for close in closes if close["state"] == "filled"} == {
        Decimal("0.1"),
        Decimal("0.2"),
    }
    desk.control.manual_close(by_hand)
    await resume(desk, stop)
    assert await broken_laws(desk) == []


async def test_a_halt_survives_a_restart_of_everything_and_there_is_a_way_back(shared_desk: Desk) -> None:
    desk = shared_desk
    stop = make_stop(scope=ControlScope.ACCOUNT, scope_id=desk.slug, flatten=False)
    await latch(desk, stop)
    await carry_on(desk, stop)
    await ended(desk, stop)

    # Workers of another process, over connections of their own, find it in the books.
    other = await another_client(desk)
    async with pipeline_worker(desk.database, other), broker_worker(desk.database, other, desk.sender):
        denied = await desk.execute(desk.intent())
        assert denied.state is OrderState.DENIED

    async with desk.database.engine("api").begin() as connection:
        (held,) = await stops.stopped(connection, ControlScope.ACCOUNT, desk.slug)
    assert held.stop.stop_id == stop.stop_id
    await resume(desk, stop)
    assert (await desk.execute(desk.intent())).state is OrderState.FILLED


async def test_a_warm_restart_with_an_open_position_sends_no_opposite_order(shared_desk: Desk) -> None:
    desk = shared_desk
    intent = desk.intent()
    await desk.execute(intent)
    trade = await desk.settled(intent)
    before = desk.control.books()
    seen = await desk.scalar("SELECT max(read_at) FROM account_snapshots")

    other = await another_client(desk)
    async with pipeline_worker(desk.database, other), broker_worker(desk.database, other, desk.sender):
        # Enough for several readings by the workers that just began.
        async def read_again() -> bool:
            return bool(
                await desk.scalar(
                    "SELECT max(read_at) > CAST(:t AS timestamptz) + interval '2 seconds' FROM account_snapshots",
                    t=seen,
                )
            )

        await until(read_again, what="a few readings")

    after = desk.control.books()
    assert (after.positions != (), after.sends) == (True, before.sends)
    assert (await desk.trade(intent)).progress.filled_volume == trade.progress.filled_volume


@pytest.mark.parametrize("flatten", [True, False])
async def test_a_stop_that_is_pressed_twice_is_two_stops_and_closes_each_position_once(
    shared_desk: Desk, *, flatten: bool
) -> None:
    desk = shared_desk
    await desk.execute(desk.intent())
    first, second = make_stop(), make_stop(flatten=flatten)
    for stop in (first, second):
        await latch(desk, stop)
    for stop in (first, second):
        await carry_on(desk, stop)
    for stop in (first, second):
        await ended(desk, stop)

    assert [position for position in desk.control.books().positions if position.magic] == []
    filled = await desk.rows(
        "SELECT position_id FROM trade_ledger WHERE stop_id IN (:a, :b) AND filled_volume > 0",
        a=first.stop_id,
        b=second.stop_id,
    )
    assert len(filled) == len({row["position_id"] for row in filled})
    await resume(desk, first)
