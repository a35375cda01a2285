"""Limits hold under any interleaving, and what is denied says why."""

import asyncio
from datetime import timedelta
from decimal import Decimal

from sqlalchemy.ext.asyncio import create_async_engine

from activities.reserving import ReserveTrade
from activities.trades import LostSubmit
from db.snapshots import write_quotes
from db.trades import Trade
from domain.limits import LimitName
from domain.orders import OrderState, Side
from domain.trades import TradeProgress
from tests.db.books import Books
from tests.factories import NOW, lots, make_position, make_quote

# What an order for 0.10 lots at 1.10210, its worst price, holds.
VALUE, LOSS = Decimal("11021.00"), Decimal("220.42")


async def reserve_all(books: Books, trades: list[Trade]) -> list[TradeProgress]:
    """All at once, each over a connection of its own."""
    engine = create_async_engine(books.database.urls["pipeline"], pool_size=len(trades))
    try:
        steps = books.steps(engine)
        wanted = [ReserveTrade(trade_id=trade.id, last=True) for trade in trades]
        return [reserved.progress for reserved in await asyncio.gather(*map(steps.reserve, wanted))]
    finally:
        await engine.dispose()


def count(progress: list[TradeProgress], state: OrderState) -> int:
    return sum(1 for one in progress if one.state is state)


async def test_64_at_once_never_overstep_a_limit_by_a_cent(books: Books) -> None:
    await books.limit(LimitName.POSITION_SIZE, 20 * VALUE)
    trades = [await books.accepted() for _ in range(64)]

    decided = await reserve_all(books, trades)

    assert (count(decided, OrderState.PENDING), count(decided, OrderState.DENIED)) == (20, 44)
    assert await books.scalar("SELECT held_notional FROM exposure_totals") == 20 * VALUE
    await books.check_sums()


async def test_a_cent_less_is_one_order_less(books: Books) -> None:
    await books.limit(LimitName.DAILY_LOSS, 5 * LOSS - Decimal("0.01"))

    decided = await reserve_all(books, [await books.accepted() for _ in range(12)])

    assert count(decided, OrderState.PENDING) == 4
    await books.check_sums()


async def test_users_at_once_never_overstep_the_limit_of_their_account(books: Books) -> None:
    await books.limit(LimitName.DAILY_LOSS, 7 * LOSS)
    users = [books.user_id, *[await books.add_trader(f"trader-{n}") for n in range(3)]]
    trades = [await books.accepted(user_id=user) for user in users for _ in range(6)]

    decided = await reserve_all(books, trades)

    assert count(decided, OrderState.PENDING) == 7
    assert await books.scalar("SELECT sum(held_loss) FROM exposure_totals") == 7 * LOSS
    await books.check_sums()


async def test_a_users_own_limit_binds_that_user_alone(books: Books) -> None:
    other = await books.add_trader("other")
    await books.limit(LimitName.DAILY_LOSS, LOSS, user_id=books.user_id)
    trades = [await books.accepted(user_id=user) for user in (books.user_id, other) for _ in range(3)]

    decided = await reserve_all(books, trades)

    assert (count(decided[:3], OrderState.PENDING), count(decided[3:], OrderState.PENDING)) == (1, 3)


async def test_one_trade_reserved_by_many_holds_once(books: Books) -> None:
    trade = await books.accepted()

    await reserve_all(books, [trade] * 16)

    assert await books.scalar("SELECT count(*) FROM risk_adjustments") == 1
    await books.check_sums()


async def test_closes_at_once_never_hold_more_than_the_position(books: Books) -> None:
    await books.show_positions(make_position(volume=lots("0.35")))
    trades = [await books.accepted(side=Side.SELL, position_id=7001) for _ in range(8)]

    decided = await reserve_all(books, trades)

    assert count(decided, OrderState.PENDING) == 3
    reasons = {one.reason for one in decided if one.state is OrderState.DENIED}
    assert reasons == {"position_volume_exceeded"}


async def test_a_denial_carries_every_gate_with_its_numbers_and_holds_nothing(books: Books) -> None:
    await books.limit(LimitName.POSITION_SIZE, 1)
    await books.limit(LimitName.DAILY_LOSS, 1)

    trade = await books.reserved()

    assert (trade.state, trade.progress.reason) == (OrderState.DENIED, "daily_loss_exceeded")
    denials = await books.scalar("SELECT denials FROM trade_ledger")
    assert [(d["gate"], d["limit"], d["value"], d["distance"], d["unit"]) for d in denials] == [
        ("daily_loss", "1", "220.42", "219.42", "USD"),
        ("position_size", "1", "11021.00", "11020.00", "USD"),
    ]
    assert await books.rows("SELECT 1 FROM risk_reservations") == []


async def test_old_data_asks_for_newer_and_denies_only_when_there_is_none(books: Books) -> None:
    books.now = NOW + timedelta(seconds=6)
    trade = await books.accepted(submit_by=NOW + timedelta(minutes=1))

    asked = await books.steps().reserve(ReserveTrade(trade_id=trade.id, last=False))
    assert (asked.stale, asked.progress.state) == (True, OrderState.PENDING)

    last = await books.steps().reserve(ReserveTrade(trade_id=trade.id, last=True))
    assert (last.stale, last.progress.state, last.progress.reason) == (False, OrderState.DENIED, "account_stale")


async def test_settling_releases_what_was_not_filled_and_closes_once(books: Books) -> None:
    trade = await books.reserved()
    await books.run("UPDATE trade_ledger SET state = 'cancelled' WHERE id = :id", id=trade.id)

    first = await books.settle(trade)
    again = await books.settle(trade)

    assert first.closed_at is not None
    assert again == first
    assert await books.scalar("SELECT state FROM risk_reservations") == "released"
    await books.check_sums()


async def test_a_submit_that_nobody_took_is_denied_only_after_its_deadline(books: Books) -> None:
    trade = await books.reserved()
    step = LostSubmit(trade_id=trade.id, started=False)

    assert (await books.steps().give_up_sending(step)).state is OrderState.PENDING
    books.now = trade.intent.submit_by
    denied = await books.steps().give_up_sending(step)

    assert (denied.state, denied.reason) == (OrderState.DENIED, "broker_unavailable")


async def test_a_submit_that_a_sender_had_is_not_denied_by_the_pipeline(books: Books) -> None:
    """Its claim may have been forgotten with books that were put back."""
    trade = await books.reserved()
    books.now = trade.intent.submit_by + timedelta(days=1)

    lost = await books.steps().give_up_sending(LostSubmit(trade_id=trade.id, started=True))

    assert lost.state is OrderState.PENDING


async def test_a_submit_that_was_claimed_is_unresolved_however_late_it_is(books: Books) -> None:
    trade = await books.reserved()
    await books.run(
        "INSERT INTO send_attempts (trade_id, number, account_id, magic, lease_number)"
        " VALUES (:id, 1, :account, :magic, 1)",
        id=trade.id,
        account=books.account.id,
        magic=trade.progress.magic,
    )
    books.now = trade.intent.submit_by + timedelta(days=1)

    lost = await books.steps().give_up_sending(LostSubmit(trade_id=trade.id, started=False))

    assert (lost.state, lost.needs_attention) == (OrderState.UNRESOLVED, True)
    assert await books.scalar("SELECT state FROM risk_reservations") == "held"


async def test_an_order_that_may_be_at_the_broker_is_held_whatever_the_gates_say(books: Books) -> None:
    await books.run("UPDATE trading_control SET state = 'halted' WHERE scope = 'all'")
    await books.run("UPDATE instruments SET listed = false")
    await books.limit(LimitName.DAILY_LOSS, 1)
    trade = await books.accepted()
    books.now = NOW + timedelta(days=2)

    held = await books.steps().reserve(ReserveTrade(trade_id=trade.id, last=False, recovering=True))

    assert (held.stale, held.progress.state) == (False, OrderState.PENDING)
    assert await books.scalar("SELECT state FROM risk_reservations") == "held"


async def test_one_whose_claim_cannot_be_said_waits_and_is_alerted_once(books: Books) -> None:
    trade = await books.accepted()
    await books.run("DELETE FROM quotes")
    step = ReserveTrade(trade_id=trade.id, last=True, recovering=True)

    waiting = [await books.steps().reserve(step) for _ in range(2)]

    assert [(one.stale, one.progress.state) for one in waiting] == [(True, OrderState.PENDING)] * 2
    assert await books.scalar("SELECT kind FROM alerts") == "recovery_waits"
    async with books.broker.begin() as connection:
        await write_quotes(connection, books.account.id, [make_quote()])
    assert not (await books.steps().reserve(step)).stale
