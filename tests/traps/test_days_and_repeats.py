"""The trap: limits that forget. A day that ends twice, an order that comes twice, a price that is old."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from activities.reserving import ReserveTrade
from db import snapshots
from db.risk_context import read_risk_context
from db.trades import Trade
from domain.controls import ControlScope
from domain.limits import LimitName, LimitUnit, Usage, daily_loss_used
from domain.money import ZERO
from domain.orders import OrderState
from tests.db.books import Books, make_snapshot
from tests.factories import NOW, make_exit, make_fill, make_position, make_quote, price

ATHENS = ZoneInfo("Europe/Athens")
# The days on which clocks are put forward and back: 23 and 25 hours long.
CHANGES = [datetime(2026, 3, 29, tzinfo=ATHENS), datetime(2026, 10, 25, tzinfo=ATHENS)]


async def usage_at(books: Books, now: datetime) -> Usage:
    async with books.database.engine("pipeline").connect() as connection:
        context = await read_risk_context(connection, books.intent(), now=now, data_age_max=timedelta(days=999))
    (mine,) = [usage for usage in context.usages if usage.scope is ControlScope.USER]
    return mine


async def lose(books: Books, amount: int, *, at: datetime, number: int) -> None:
    trade = await books.accepted()
    place = {"position_id": number, "broker_order_id": number, "commission": ZERO}
    await books.book(
        make_fill(magic=trade.progress.magic, ticket=number, executed_at=at - timedelta(minutes=1), **place),
        make_exit(
            magic=0,
            ticket=number + 1,
            profit=Decimal(-amount),
            executed_at=at,
            **{**place, "broker_order_id": number + 1},
        ),
    )


@pytest.mark.parametrize("day", CHANGES, ids=["forward", "back"])
async def test_the_day_begins_at_the_brokers_midnight_across_both_clock_changes(
    books: Books, day: datetime
) -> None:
    await books.run("UPDATE broker_accounts SET day_zone = 'Europe/Athens'")
    begins = day.astimezone(UTC)
    ends = (day + timedelta(days=1)).astimezone(UTC)
    assert ends - begins != timedelta(hours=24)
    moment = timedelta(seconds=1)
    await lose(books, 100, at=begins - moment, number=10)
    await lose(books, 20, at=begins + moment, number=20)
    await lose(books, 3, at=ends - moment, number=30)

    assert (await usage_at(books, begins - moment)).realised_today == -100
    assert (await usage_at(books, begins + moment)).realised_today == -23
    assert (await usage_at(books, ends - moment)).realised_today == -23
    assert (await usage_at(books, ends + moment)).realised_today == 0


async def test_the_rolling_window_closes_what_midnight_opens(books: Books) -> None:
    """Losing the whole limit just before midnight, and again just after it, is one loss of 24 hours."""
    await books.run("UPDATE broker_accounts SET day_zone = 'Europe/Athens'")
    midnight = CHANGES[0].astimezone(UTC)
    await lose(books, 900, at=midnight - timedelta(minutes=1), number=10)
    after = await usage_at(books, midnight + timedelta(minutes=1))

    assert after.realised_today == 0
    assert after.rolling_result == -900
    assert (await usage_at(books, midnight + timedelta(hours=24))).rolling_result == 0


async def test_a_position_over_midnight_counts_from_its_mark_and_a_restart_forgets_it_not(books: Books) -> None:
    await books.run("UPDATE broker_accounts SET day_zone = 'Europe/Athens'")
    midnight = CHANGES[0].astimezone(UTC)
    held = make_position(opened_at=midnight - timedelta(hours=5), stop_loss=price("1.09000"))
    for at, now_price in (
        (midnight + timedelta(seconds=1), "1.09800"),
        (midnight + timedelta(hours=1), "1.09500"),
    ):
        books.now = at
        await books.show_positions(
            make_position(
                opened_at=held.opened_at, stop_loss=price("1.09000"), price_current=price(now_price), updated_at=at
            )
        )
    # From the mark of 1.09800 to the stop, not from the opening price.
    async with books.database.engine("pipeline").connect() as connection:
        context = await read_risk_context(
            connection, books.intent(), now=midnight + timedelta(hours=2), data_age_max=timedelta(days=999)
        )
    (account,) = [each for each in context.usages if each.scope is ControlScope.ACCOUNT]
    assert (account.open_loss, account.present_loss) == (Decimal("80.00"), Decimal("30.00"))


async def test_what_is_held_over_midnight_is_held_on_the_new_day(books: Books) -> None:
    await books.reserved()
    before = await usage_at(books, NOW)
    after = await usage_at(books, NOW + timedelta(days=1))
    assert daily_loss_used(after) == daily_loss_used(before) > 0


async def test_the_same_order_twice_within_the_window_is_refused_unless_it_is_meant(books: Books) -> None:
    await _set(books, LimitName.DUPLICATE_WINDOW, 5, LimitUnit.SECONDS)
    first = await books.reserved(received_at=NOW)
    assert first.state is OrderState.PENDING

    books.now = NOW + timedelta(seconds=4)
    await _quote(books)
    again = await _reserved_now(books)
    assert (again.state, again.progress.reason) == (OrderState.DENIED, "duplicate_order")
    assert (await _reserved_now(books, allow_duplicate=True)).state is OrderState.PENDING
    assert (await _reserved_now(books, take_profit=price("1.20000"))).state is OrderState.PENDING

    books.now = NOW + timedelta(seconds=20)
    await _quote(books)
    assert (await _reserved_now(books)).state is OrderState.PENDING


async def test_a_market_order_without_a_fresh_quote_is_refused(books: Books) -> None:
    books.now = NOW + timedelta(seconds=6)
    stale = await _reserved_now(books)
    assert (stale.state, stale.progress.reason) == (OrderState.DENIED, "quote_stale")

    await books.run("DELETE FROM quotes")
    missing = await _reserved_now(books)
    assert (missing.state, missing.progress.reason) == (OrderState.DENIED, "quote_missing")

    await _quote(books)
    assert (await _reserved_now(books)).state is OrderState.PENDING


async def _quote(books: Books) -> None:
    async with books.broker.begin() as connection:
        quote = make_quote(at=books.now, read_at=books.now)
        await snapshots.write_quotes(connection, books.account.id, [quote])


async def _reserved_now(books: Books, **changes: object) -> Trade:
    """An order that is received and reserved at this moment, on the data that is there."""
    if books.now > NOW:
        async with books.broker.begin() as connection:
            await snapshots.write_account(connection, books.account.id, make_snapshot(read_at=books.now))
    trade = await books.accepted(received_at=books.now, submit_by=books.now + timedelta(seconds=10), **changes)
    await books.steps().reserve(ReserveTrade(trade_id=trade.id, last=True))
    return await books.trade(trade.id)


async def _set(books: Books, name: LimitName, value: int, unit: LimitUnit) -> None:
    await books.run(
        "UPDATE risk_limits SET value = :value WHERE name = :name AND unit = :unit",
        value=Decimal(value),
        name=name.value,
        unit=unit.value,
    )
