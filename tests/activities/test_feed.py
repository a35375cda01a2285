"""The feed books what the broker shows, and nothing of what is not ours to see."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.feed import REREAD_INTERVAL, FollowAccount
from activities.sends import SenderActivities, SubmitTrade
from activities.stretch import ORPHAN_PATIENCE
from db.instruments import bound_slippage
from db.trades import Trade
from domain.errors import BrokerMismatch, BrokerUnavailable, ClockMismatch, LeaseLost, PipelineError
from domain.orders import Accepted, BrokerOrderState, OrderState
from tests.activities.broker import make_lookup, make_sender, take_lease
from tests.activities.feeding import ALL_ON, ReadBroker, Signals, follow_until, make_feed, now
from tests.db.books import Books
from tests.factories import (
    NOW,
    lots,
    make_exit,
    make_fill,
    make_instrument,
    make_order,
    make_position,
    make_quote,
    price,
)


async def working(books: Books, broker: ReadBroker) -> Trade:
    """A trade whose order the broker took and has not filled."""
    lease = await take_lease(books)
    trade = await books.reserved()
    order = make_order(magic=trade.progress.magic)
    accepted = Accepted(broker_order_id=7001, order=order, fills=(), quote=make_quote(), retcode=10009)
    broker.outcomes.append(accepted)
    sender = SenderActivities(books.broker, make_sender(books, lease, broker), now=lambda: books.now)
    await ActivityEnvironment().run(sender.submit, SubmitTrade(trade_id=trade.id))
    return await books.trade(trade.id)


async def test_a_sender_that_lost_its_lease_stops_and_books_nothing(books: Books) -> None:
    lost = await take_lease(books)
    await take_lease(books)
    broker = ReadBroker(records=(make_fill(magic=0), make_fill(magic=0, ticket=9100, broker_order_id=7100)))
    feed = make_feed(books, lost, broker)

    with pytest.raises(LeaseLost):
        await feed.read_now()
    with pytest.raises(LeaseLost):
        await ActivityEnvironment().run(feed.follow, FollowAccount(account_slug=books.account.slug))

    assert await books.rows("SELECT 1 FROM fills") == []
    assert await books.rows("SELECT 1 FROM alerts") == []


async def test_a_record_that_the_books_refuse_keeps_no_other_out_and_raises_one_alert(books: Books) -> None:
    fine = [make_fill(magic=0, ticket=n, broker_order_id=n, position_id=n) for n in (9101, 9103)]
    refused = make_fill(magic=0, ticket=9102, broker_order_id=9102, position_id=9102, volume=lots("-0.10"))
    broker = ReadBroker(records=(fine[0], refused, fine[1]))
    feed = make_feed(books, await take_lease(books), broker)

    await feed.read_now()
    await feed.read_now()

    assert [row["ticket"] for row in await books.rows("SELECT ticket FROM fills ORDER BY ticket")] == [9101, 9103]
    (alert,) = await books.rows("SELECT kind, severity, summary FROM alerts")
    assert (alert["kind"], alert["severity"]) == ("unbookable", "critical")
    assert alert["summary"].startswith("the broker's record 9102 could not be booked")
    await books.check_sums()


async def test_an_exit_that_shows_before_its_opening_waits_for_it_and_goes_to_its_opener(books: Books) -> None:
    trade = await books.reserved()
    opening, stop_out = make_fill(magic=trade.progress.magic), make_exit(magic=0)
    broker = ReadBroker(records=(stop_out,))
    feed = make_feed(books, await take_lease(books), broker)

    async def seen() -> bool:
        return broker.fills_read > 0

    async def closed() -> bool:
        return await owners(books) == [trade.id]

    await follow_until(books, feed, seen, what="the exit to be seen")
    assert await owners(books) == []
    broker.records = (stop_out, opening)
    await follow_until(books, feed, closed, what="the exit to be booked")

    await books.check_sums()


async def test_an_exit_whose_opening_never_shows_is_nobodys_after_a_while(books: Books) -> None:
    broker = ReadBroker(records=(make_exit(magic=0),))
    started_at = now()
    # The patience is over by the second look at the fills.
    feed = make_feed(
        books,
        await take_lease(books),
        broker,
        clock=lambda: started_at + broker.fills_read * ORPHAN_PATIENCE,
        instruments=timedelta(days=1),
    )

    async def closed() -> bool:
        if broker.fills_read < 2:
            broker.records += (make_fill(magic=0, ticket=9500 + broker.fills_read, position_id=9500),)
        return await owners(books) == [None]

    await follow_until(books, feed, closed, what="the exit to be booked")
    assert broker.fills_read >= 2


async def owners(books: Books) -> list[Any]:
    rows = await books.rows("SELECT trade_id FROM fill_allocations WHERE role = 'close'")
    return [row["trade_id"] for row in rows]


async def test_slippage_is_measured_where_the_look_up_of_an_order_books_its_fill(books: Books) -> None:
    broker = ReadBroker()
    trade = await working(books, broker)
    async with books.broker.begin() as connection:
        await bound_slippage(connection, books.account.id, {"EURUSD": Decimal(20)})
    await books.run("UPDATE trade_ledger SET submitted_at = now() - interval '1 minute'")
    # The broker's list of deals does not show it yet; only the search under the order's number does.
    fill = make_fill(magic=trade.progress.magic, price=price("1.10035"))
    filled = make_order(magic=trade.progress.magic, state=BrokerOrderState.FILLED)
    broker.lookup = make_lookup(history_orders=(filled,), fills=(fill,))
    signals = Signals()
    lease = await take_lease(books)

    async def is_filled() -> bool:
        return (await books.trade(trade.id)).state is OrderState.FILLED

    await follow_until(books, make_feed(books, lease, broker, signals), is_filled, what="the fill")

    (slipped,) = await books.rows(
        "SELECT slippage_points, slippage_money, slippage_price_percent FROM trade_ledger"
    )
    assert list(slipped.values()) == [Decimal("25.00"), Decimal("2.50"), Decimal("0.022725")]
    assert await books.rows("SELECT kind, trade_id FROM alerts") == [{"kind": "slippage", "trade_id": trade.id}]
    assert signals.told == [trade.workflow_id]


async def test_a_cancelled_order_whose_deals_show_late_keeps_its_trade_open_until_they_do(books: Books) -> None:
    broker = ReadBroker()
    trade = await working(books, broker)
    await books.run("UPDATE trade_ledger SET submitted_at = now() - interval '1 minute'")
    order = make_order(
        magic=trade.progress.magic,
        state=BrokerOrderState.CANCELLED,
        remaining=lots("0.06"),
        done_at=now() - timedelta(minutes=2),
    )
    broker.lookup = make_lookup(history_orders=(order,))
    feed = make_feed(books, await take_lease(books), broker)

    async def alerted() -> bool:
        return await books.scalar("SELECT kind FROM alerts") == "deals_missing"

    await follow_until(books, feed, alerted, what="somebody to be told")
    assert (await books.trade(trade.id)).state is OrderState.WORKING
    assert await books.scalar("SELECT state FROM risk_reservations") == "held"

    broker.records = (make_fill(magic=trade.progress.magic, volume=lots("0.04")),)

    async def ended() -> bool:
        return (await books.trade(trade.id)).state is OrderState.CANCELLED

    await follow_until(books, feed, ended, what="the trade to end")
    assert (await books.trade(trade.id)).progress.filled_volume == lots("0.04")


async def test_a_fill_of_a_look_up_that_the_books_refuse_keeps_nothing_else_out(books: Books) -> None:
    broker = ReadBroker()
    trade = await working(books, broker)
    await books.run("UPDATE trade_ledger SET submitted_at = now() - interval '1 minute'")
    refused = make_fill(magic=trade.progress.magic, volume=lots("-0.10"))
    fill = make_fill(magic=trade.progress.magic, ticket=9100, position_id=7100)
    broker.lookup = make_lookup(fills=(refused, fill))

    async def is_filled() -> bool:
        return (await books.trade(trade.id)).state is OrderState.FILLED

    feed = make_feed(books, await take_lease(books), broker)
    await follow_until(books, feed, is_filled, what="the fill that can be booked")
    assert await books.scalar("SELECT kind FROM alerts") == "unbookable"


async def test_a_refused_record_is_booked_once_the_books_take_it(books: Books) -> None:
    odd = make_fill(magic=0)
    broker = ReadBroker(records=(odd,))
    await books.run("ALTER TABLE fills ADD CONSTRAINT too_narrow CHECK (volume > 1)")
    started_at = now()
    feed = make_feed(
        books, await take_lease(books), broker, clock=lambda: started_at + broker.fills_read * REREAD_INTERVAL
    )

    async def refused() -> bool:
        return await books.scalar("SELECT kind FROM alerts") == "unbookable"

    async def booked() -> bool:
        if await refused():
            await books.run("ALTER TABLE fills DROP CONSTRAINT IF EXISTS too_narrow")
        return bool(await books.scalar("SELECT count(*) FROM fills"))

    await follow_until(books, feed, booked, what="the record to be booked after all")


async def test_a_refresh_never_takes_back_what_the_feed_has_corrected_meanwhile(books: Books) -> None:
    older, newer = make_fill(magic=0), make_fill(magic=0, commission=Decimal("-0.70"))
    broker = ReadBroker(records=(older,))
    feed = make_feed(books, await take_lease(books), broker)
    await feed.read_now()
    await books.book(newer)

    await feed.read_now()

    assert await books.scalar("SELECT commission FROM current_fills") == Decimal("-0.70")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (BrokerMismatch("the terminal shows login 99999, expected is 1"), "account_mismatch"),
        (ClockMismatch("it is 60 min ahead of Europe/Athens"), "clock_mismatch"),
    ],
)
async def test_what_is_not_ours_is_alerted_once_kept_out_of_the_books_and_over_when_ours_is_back(
    books: Books, fault: PipelineError, kind: str
) -> None:
    broker = ReadBroker(fault=fault, records=(make_fill(magic=0),), positions=(make_position(),))
    broker.cards = (make_instrument(contract_size=Decimal(1)),)
    feed = make_feed(books, await take_lease(books), broker)

    async def told() -> bool:
        return bool(await books.rows("SELECT 1 FROM account_conditions"))

    async def over() -> bool:
        return not await told() and bool(await books.rows("SELECT 1 FROM broker_positions"))

    await follow_until(books, feed, told, what="the condition")
    for table in ("fills", "broker_positions", "contract_changes"):
        assert await books.rows(f"SELECT 1 FROM {table}") == [], table
    assert await books.scalar("SELECT count(*) FROM account_snapshots") == 1
    trade = await books.reserved()
    (denial,) = await books.scalar("SELECT denials FROM trade_ledger WHERE id = :id", id=trade.id)
    assert (trade.state, denial["code"]) == (OrderState.DENIED, kind)
    assert str(fault) in denial["message"]

    with pytest.raises(type(fault)):
        await ActivityEnvironment().run(feed.refresh, FollowAccount(account_slug=books.account.slug))
    broker.fault, broker.cards = None, (make_instrument(),)
    await follow_until(books, feed, over, what="the end of the condition")
    alerts = await books.rows("SELECT kind, cleared_at IS NOT NULL AS over FROM alerts")
    assert alerts == [{"kind": kind, "over": True}]
    assert await books.scalar("SELECT count(*) FROM fills") == 1


async def test_a_terminal_that_does_not_answer_proves_nothing(books: Books) -> None:
    broker = ReadBroker(permissions=replace(ALL_ON, algo_trading=False))
    feed = make_feed(books, await take_lease(books), broker)
    await feed.read_now()
    broker.fault = BrokerUnavailable("the terminal is away")

    with pytest.raises(BrokerUnavailable):
        await feed.read_now()

    assert await books.rows("SELECT kind FROM account_conditions") == [{"kind": "algo_trading_off"}]


@pytest.mark.parametrize(
    "fault", [BrokerUnavailable("no list"), BrokerMismatch("the terminal shows login 99999, expected is 1")]
)
async def test_prices_and_fills_do_not_wait_for_the_list_of_symbols(books: Books, fault: PipelineError) -> None:
    broker = ReadBroker(list_fault=fault, records=(make_fill(magic=0),))
    lease = await take_lease(books)

    async def fresh() -> bool:
        """A quote and a fill of this run are in the books."""
        quoted = await books.scalar("SELECT read_at FROM quotes")
        return bool(quoted > NOW and await books.rows("SELECT 1 FROM fills"))

    await follow_until(books, make_feed(books, lease, broker, instruments=timedelta(hours=1)), fresh, what="them")
    assert await books.rows("SELECT 1 FROM account_conditions") == []


async def test_a_changed_leverage_is_told_once_and_blocks_nothing(books: Books) -> None:
    broker = ReadBroker(leverage=30)
    feed = make_feed(books, await take_lease(books), broker)
    await feed.read_now()
    await feed.read_now()

    assert await books.rows("SELECT kind FROM alerts") == [{"kind": "leverage_changed"}]
    books.now = now()
    deadline = books.now + timedelta(seconds=10)
    assert (await books.reserved(received_at=books.now, submit_by=deadline)).state is OrderState.PENDING
