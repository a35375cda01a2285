"""Stop means stop: the latch at once, nothing behind it but the stop's own, flat only when the broker shows it."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from sqlalchemy import text
from temporalio.exceptions import TemporalError

from brokers.mt5.clock import ServerClock
from brokers.simulator.constants import DEAL_ENTRY_OUT
from brokers.simulator.faults import Delay, Hang
from brokers.simulator.market import Side as SimulatedSide
from db import stops
from domain.controls import ControlScope, ControlState
from domain.orders import Changes, OrderIntent, OrderState, OrderType, Side
from tests.desk import ZONE, Desk
from tests.factories import lots, price
from tests.waiting import until
from tests.workflows.asking import broken_laws, modify, sends_of
from tests.workflows.stopping import carry_on, ended, in_force, latch, make_stop, progress_of, resume


async def opened(desk: Desk, *intents: OrderIntent) -> None:
    """Execute the orders, and wait until the feed shows what they opened."""
    for intent in intents:
        await desk.execute(intent)
        await desk.settled(intent)

    async def shown() -> bool:
        held = len([position for position in desk.control.books().positions if position.magic])
        return bool(await desk.scalar("SELECT count(*) FROM broker_positions WHERE magic <> 0") == held)

    await until(shown, what="the positions to be shown")


async def test_a_stop_cancels_closes_and_certifies_what_the_brokers_own_books_show(desk: Desk) -> None:
    resting = desk.intent(order_type=OrderType.LIMIT, price=price("1.00000"))
    await opened(desk, desk.intent(), desk.intent(side=Side.SELL, volume=lots("0.20")))
    await desk.execute(resting)
    by_hand = desk.control.manual_trade("EURUSD", SimulatedSide.BUY, "0.05")
    stop = make_stop()

    latched_at = await latch(desk, stop)
    await carry_on(desk, stop)
    progress = await ended(desk, stop)

    certificate = progress.certificate
    assert progress.flat_at is not None
    assert certificate["flat"] is True
    assert progress.in_force_at is not None
    assert progress.in_force_at - latched_at < timedelta(seconds=1)
    # The broker's books: what was ours is gone, what was opened by hand is still there, and named.
    assert [position.ticket for position in desk.control.books().positions] == [by_hand]
    assert [told for told in certificate["left"] if str(by_hand) in told]
    assert len(certificate["cancelled"]) == 1
    assert {(close["state"], close["filled_volume"]) for close in certificate["closes"]} == {
        ("filled", "0.1"),
        ("filled", "0.2"),
    }
    closes = [deal for deal in desk.control.books().deals if deal.entry == DEAL_ENTRY_OUT]
    assert sum(Decimal(close["cash"]) for close in certificate["closes"]) == sum(
        deal.profit + deal.commission + deal.swap + deal.fee for deal in closes
    )
    assert (await desk.becomes(resting, OrderState.CANCELLED)).progress.filled_volume == 0
    assert await broken_laws(desk) == []


async def test_what_is_not_ours_is_closed_as_well_where_that_is_asked_for(desk: Desk) -> None:
    await opened(desk, desk.intent())
    desk.control.manual_trade("EURUSD", SimulatedSide.SELL, "0.05")
    stop = make_stop(include_external=True)

    await latch(desk, stop)
    await carry_on(desk, stop)
    progress = await ended(desk, stop)

    assert desk.control.books().positions == ()
    assert progress.certificate["left"] == []


async def test_a_stop_while_50_trades_are_in_flight_lets_no_send_behind_it(desk: Desk) -> None:
    desk.control.script("EURUSD", [Delay(ms=200)], repeat=True)
    intents = [desk.intent(volume=lots("0.01")) for _ in range(50)]
    running = [asyncio.create_task(desk.execute(intent)) for intent in intents]

    async def some_left() -> bool:
        return bool(await desk.scalar("SELECT count(*) >= 10 FROM send_attempts"))

    await until(some_left, what="some of them to be sent")
    stop = make_stop()
    latched_at = await latch(desk, stop)
    await carry_on(desk, stop)
    for task in running:
        with suppress(TemporalError):
            await task
    progress = await ended(desk, stop, timeout_seconds=40)

    # No send was claimed behind the latch, but by the stop's own closes.
    late = await desk.scalar(
        "SELECT count(*) FROM send_attempts a JOIN trade_ledger t ON t.id = a.trade_id"
        " WHERE a.claimed_at > :at AND t.stop_id IS NULL",
        at=latched_at,
    )
    assert late == 0
    # From the terminal's own log: once in force, nothing reached it but the stop's own and what the stop named.
    assert progress.in_force_at is not None
    own = {row["magic"] for row in await desk.rows("SELECT magic FROM trade_ledger WHERE stop_id IS NOT NULL")}
    clock = ServerClock(ZONE)
    behind = [send for send in desk.control.books().sends if clock.to_utc(send.time_msc) > progress.in_force_at]
    named = {send["trade_id"] for send in progress.certificate["in_flight"]}
    by_name = {
        row["magic"] for row in await desk.rows("SELECT id, magic FROM trade_ledger") if str(row["id"]) in named
    }
    assert {send.magic for send in behind} <= own | by_name
    # The certificate agrees with the broker's books.
    assert desk.control.books().positions == ()
    states = {
        row["state"]: row["count"]
        for row in await desk.rows("SELECT state, count(*) FROM trade_ledger WHERE stop_id IS NULL GROUP BY state")
    }
    assert states.get("filled", 0) == len(
        [close for close in progress.certificate["closes"] if close["state"] == "filled"]
    )
    assert states.get("denied", 0) > 0
    assert await broken_laws(desk) == []


async def test_a_send_that_hangs_in_the_terminal_is_named_and_nothing_is_flat_before_its_end(desk: Desk) -> None:
    await opened(desk, desk.intent())
    desk.control.script("EURUSD", [Hang(executed=True)])
    hanging = desk.intent(volume=lots("0.20"))
    waiting = asyncio.create_task(desk.execute(hanging))

    async def claimed() -> bool:
        return bool(await desk.scalar("SELECT count(*) FROM send_attempts WHERE outcome IS NULL"))

    await until(claimed, what="the send to be claimed")
    stop = make_stop()
    latched_at = await latch(desk, stop)
    await carry_on(desk, stop)
    forced = await in_force(desk, stop)

    assert forced.in_force_at is not None
    assert forced.in_force_at - latched_at < timedelta(seconds=2)
    assert [send["trade_id"] for send in forced.certificate["in_flight"]] == [str(hanging.trade_id)]
    with suppress(TemporalError):
        await waiting
    progress = await ended(desk, stop, timeout_seconds=60)
    assert progress.flat_at is not None
    trade = await desk.settled(hanging)
    assert trade.state in {OrderState.FILLED, OrderState.REJECTED}
    assert desk.control.books().positions == ()
    assert len(sends_of(desk, trade)) <= 1
    assert await broken_laws(desk) == []


async def test_a_change_that_hangs_on_its_way_is_named_until_its_end(desk: Desk) -> None:
    resting = desk.intent(order_type=OrderType.LIMIT, price=price("1.00000"))
    await desk.execute(resting)
    desk.control.script("EURUSD", [Hang(executed=True)])
    changing = asyncio.create_task(modify(desk, resting, Changes(price=price("0.99000"))))

    async def sent() -> bool:
        return bool(await desk.scalar("SELECT count(*) FROM trade_commands WHERE sent_at IS NOT NULL"))

    await until(sent, what="the change to be sent")
    stop = make_stop()
    await latch(desk, stop)
    await carry_on(desk, stop)
    forced = await in_force(desk, stop)

    assert [send["trade_id"] for send in forced.certificate["in_flight"]] == [str(resting.trade_id)]
    await asyncio.wait([changing])
    assert (await ended(desk, stop, timeout_seconds=60)).flat_at is not None
    assert (await desk.settled(resting)).state is OrderState.CANCELLED
    assert await broken_laws(desk) == []


async def test_a_position_beyond_what_one_order_may_have_is_closed_in_parts(desk: Desk) -> None:
    await opened(desk, desk.intent(volume=lots("0.25")))
    desk.control.set_symbol("EURUSD", volume_max="0.10")
    async with desk.database.engine("owner").begin() as connection:
        await connection.execute(text("UPDATE instruments SET volume_max = 0.10 WHERE symbol = 'EURUSD'"))
    stop = make_stop()
    await latch(desk, stop)
    await carry_on(desk, stop)

    progress = await ended(desk, stop)

    assert progress.flat_at is not None
    volumes = [close["filled_volume"] for close in progress.certificate["closes"] if close["state"] == "filled"]
    assert sorted(volumes) == ["0.05", "0.1", "0.1"]
    assert desk.control.books().positions == ()


async def test_a_position_in_a_closed_market_is_named_and_closed_once_it_opens(desk: Desk) -> None:
    await opened(desk, desk.intent())
    desk.control.set_symbol("EURUSD", session_open=False)
    stop = make_stop()
    await latch(desk, stop)
    await carry_on(desk, stop)

    async def refused() -> bool:
        certificate = (await progress_of(desk, stop.stop_id)).certificate
        return bool(certificate.get("refused")) and bool(certificate["remaining"])

    await until(refused, what="the refusal to be certified")
    assert (await progress_of(desk, stop.stop_id)).flat_at is None

    desk.control.set_symbol("EURUSD", session_open=True)
    assert (await ended(desk, stop)).flat_at is not None
    assert desk.control.books().positions == ()


@pytest.mark.parametrize("scope", [ControlScope.SYMBOL, ControlScope.USER, ControlScope.ACCOUNT])
async def test_a_stop_of_a_part_touches_that_part_alone(desk: Desk, scope: ControlScope) -> None:
    euro, gold = desk.intent(), desk.intent(symbol="GBPUSD")
    await opened(desk, euro, gold)
    ids = {ControlScope.SYMBOL: "EURUSD", ControlScope.USER: str(desk.user_id), ControlScope.ACCOUNT: desk.slug}
    stop = make_stop(scope=scope, scope_id=ids[scope])

    await latch(desk, stop)
    await carry_on(desk, stop)
    await ended(desk, stop)

    left = {position.symbol for position in desk.control.books().positions}
    assert left == ({"GBPUSD"} if scope is ControlScope.SYMBOL else set())
    denied = await desk.execute(desk.intent())
    assert denied.state is OrderState.DENIED
    elsewhere = await desk.execute(desk.intent(symbol="GBPUSD"))
    assert (elsewhere.state is OrderState.DENIED) == (scope is not ControlScope.SYMBOL)


async def test_a_stop_without_flatten_ends_once_it_is_in_force(desk: Desk) -> None:
    await opened(desk, desk.intent())
    stop = make_stop(flatten=False, mode=ControlState.REDUCE_ONLY)
    await latch(desk, stop)
    await carry_on(desk, stop)

    progress = await ended(desk, stop)

    assert (progress.flat_at, progress.certificate["closes"]) == (None, [])
    assert (progress.certificate["remaining"], len(progress.certificate["left"])) == ([], 1)
    (position,) = desk.control.books().positions
    close = desk.intent(side=Side.SELL, position_id=position.identifier)
    assert (await desk.execute(close)).state is OrderState.FILLED, "what reduces may leave"


async def test_trading_that_is_opened_again_ends_the_stop_and_lets_orders_out(desk: Desk) -> None:
    await opened(desk, desk.intent())
    desk.control.set_symbol("EURUSD", session_open=False)
    stop = make_stop()
    await latch(desk, stop)
    handle = await carry_on(desk, stop)
    await until(partial(_certified, desk, stop.stop_id), what="a first round")

    await resume(desk, stop)
    desk.control.set_symbol("EURUSD", session_open=True)

    await asyncio.wait_for(handle.result(), 20)
    assert (await desk.execute(desk.intent())).state is OrderState.FILLED


async def _certified(desk: Desk, stop_id: object) -> bool:
    return bool(await desk.scalar("SELECT certificate ? 'round' FROM emergency_stops WHERE id = :id", id=stop_id))


async def test_a_stop_whose_workflow_is_started_many_times_closes_each_position_once(desk: Desk) -> None:
    await opened(desk, desk.intent())
    stop = make_stop()
    await asyncio.gather(*(latch(desk, stop) for _ in range(5)))
    await asyncio.gather(*(carry_on(desk, stop) for _ in range(5)))
    await ended(desk, stop)

    assert await desk.scalar("SELECT count(*) FROM trade_ledger WHERE stop_id IS NOT NULL") == 1
    assert await desk.scalar("SELECT count(*) FROM alerts WHERE kind = 'stop'") == 1


@pytest.mark.parametrize("scope", [ControlScope.ACCOUNT, ControlScope.USER, ControlScope.SYMBOL])
async def test_the_first_stop_of_a_part_lets_no_claim_through_that_waited_for_it(
    desk: Desk, scope: ControlScope
) -> None:
    """The row of the part is made by the latch: a claim that waits behind it must not go by what it saw before."""
    ids = {ControlScope.SYMBOL: "EURUSD", ControlScope.USER: str(desk.user_id), ControlScope.ACCOUNT: desk.slug}
    stop = make_stop(scope=scope, scope_id=ids[scope], flatten=False)
    intent = desk.intent()
    async with desk.database.engine("api").begin() as connection:
        await stops.latch(connection, stop)
        waiting = asyncio.create_task(desk.execute(intent))

        async def claims() -> bool:
            return bool(await desk.scalar("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await until(claims, what="the claim to wait behind the latch")

    assert (await waiting).state is OrderState.DENIED
    assert await desk.scalar("SELECT count(*) FROM send_attempts") == 0


async def test_a_stop_that_was_abandoned_closes_nothing_that_was_opened_since(desk: Desk) -> None:
    await opened(desk, desk.intent())
    desk.control.set_symbol("EURUSD", session_open=False)
    stop = make_stop()
    await latch(desk, stop)
    handle = await carry_on(desk, stop)
    await until(partial(_certified, desk, stop.stop_id), what="a first round")
    await resume(desk, stop)
    desk.control.set_symbol("EURUSD", session_open=True)

    await asyncio.wait_for(handle.result(), 20)

    assert len(desk.control.books().positions) == 1
    assert len((await progress_of(desk, stop.stop_id)).certificate["closes"]) >= 1
