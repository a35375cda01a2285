"""What never becomes an order, and what the broker does not take at once."""

from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.faults import DoneLater, Partial, Placed, Reject
from db.limits import NewLimit, set_limit
from domain.limits import LimitName, LimitUnit
from domain.orders import OrderState
from tests.desk import Desk
from tests.factories import lots
from tests.workflows.asking import event_kinds, reservation_state, sends_of


async def limit(desk: Desk, name: LimitName, value: int) -> None:
    new = NewLimit(
        name=name,
        account_id=desk.account_id,
        user_id=None,
        value=Decimal(value),
        unit=LimitUnit.MONEY,
        currency="USD",
        reason="test",
    )
    async with desk.engine.begin() as connection:
        await set_limit(connection, new, actor="test")


async def test_an_order_beyond_its_limits_is_denied_with_every_reason(desk: Desk) -> None:
    await limit(desk, LimitName.DAILY_LOSS, 1)
    await limit(desk, LimitName.POSITION_SIZE, 1)
    intent = desk.intent(volume=lots("0.105"))

    ack = await desk.execute(intent)

    assert ack.state is OrderState.DENIED
    trade = await desk.settled(intent)
    assert sends_of(desk, trade) == []
    denials = await desk.scalar("SELECT denials FROM trade_ledger")
    assert [denial["code"] for denial in denials] == [
        "volume_invalid",
        "daily_loss_exceeded",
        "position_size_exceeded",
    ]
    assert await reservation_state(desk, intent) is None


async def test_an_order_that_the_broker_rejects_frees_its_reservation(desk: Desk) -> None:
    desk.control.script("EURUSD", [Reject(retcode=mt5.TRADE_RETCODE_NO_MONEY)])
    intent = desk.intent()

    ack = await desk.execute(intent)

    assert ack.state is OrderState.REJECTED
    trade = await desk.settled(intent)
    assert (trade.progress.reason or "").lower() == "no_money"
    assert len(sends_of(desk, trade)) == 1
    assert await reservation_state(desk, intent) == "released"
    assert desk.control.books().positions == ()


async def test_an_order_placed_now_and_filled_later_is_followed_to_its_end(desk: Desk) -> None:
    desk.control.script("EURUSD", [Placed(after_ms=900, parts=3)])
    intent = desk.intent(volume=lots("0.30"))

    ack = await desk.execute(intent)
    assert ack.state is OrderState.WORKING

    trade = await desk.settled(intent)
    assert (trade.state, trade.progress.filled_volume) == (OrderState.FILLED, lots("0.30"))
    kinds = await event_kinds(desk, intent.trade_id)
    assert kinds.count("trade.filled_in_part") == 2
    assert kinds.count("trade.filled_in_full") == 1
    assert len(sends_of(desk, trade)) == 1


async def test_a_deal_that_comes_after_its_answer_is_booked_once(desk: Desk) -> None:
    desk.control.script("EURUSD", [DoneLater(after_ms=400)])
    intent = desk.intent()

    await desk.execute(intent)

    trade = await desk.settled(intent)
    assert trade.state is OrderState.FILLED
    assert await desk.scalar("SELECT count(*) FROM fills WHERE trade_id = :id", id=intent.trade_id) == 1


async def test_an_order_filled_in_part_and_given_up_settles_its_part(desk: Desk) -> None:
    desk.control.script("EURUSD", [Partial(fraction=Decimal("0.4"))])
    intent = desk.intent()

    ack = await desk.execute(intent)

    assert ack.state is OrderState.CANCELLED
    trade = await desk.settled(intent)
    assert trade.progress.filled_volume == lots("0.04")
    assert await reservation_state(desk, intent) == "settled"


async def test_a_stop_denies_what_comes_after_it(desk: Desk) -> None:
    async with desk.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE trading_control SET state = 'halted', reason = 'drill'")
    intent = desk.intent()

    ack = await desk.execute(intent)

    assert (ack.state, (await desk.trade(intent)).progress.reason) == (OrderState.DENIED, "trading_halted")
    assert desk.control.books().sends == ()
