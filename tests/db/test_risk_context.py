"""The facts that the gates decide on are those of the books, by account and by user."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from db.risk_context import read_risk_context
from domain.controls import ControlScope
from domain.limits import LimitName, Repeats, Usage
from domain.money import Lots
from domain.orders import OrderIntent, Side
from domain.risk_context import RiskContext
from tests.db.books import Books
from tests.factories import (
    ACCOUNT_ID,
    NOW,
    lots,
    make_exit,
    make_fill,
    make_instrument,
    make_position,
    make_quote,
    price,
)


async def read(books: Books, intent: OrderIntent) -> RiskContext:
    async with books.database.engine("pipeline").connect() as connection:
        return await read_risk_context(connection, intent, now=books.now, data_age_max=timedelta(seconds=5))


async def free(books: Books, **close: Any) -> Lots:
    holding = (await read(books, books.intent(**close))).holding
    assert holding is not None
    return holding.free


def usage(context: RiskContext, scope: ControlScope) -> Usage:
    (found,) = [usage for usage in context.usages if usage.scope is scope]
    return found


async def test_facts_come_back_exactly_as_they_were_stored(books: Books) -> None:
    context = await read(books, books.intent())

    assert context.instrument == make_instrument()
    assert (context.conditions, context.contract_changes, context.instrument_listed) == ((), (), True)
    assert context.quote == make_quote()
    assert context.account is not None
    assert (context.account.margin_free, context.account.leverage) == (Decimal(1_000_000), 100)
    limits = {(limit.name, limit.scope, limit.value) for limit in context.limits}
    assert {name for name, _, _ in limits} == set(LimitName)
    assert (LimitName.DAILY_LOSS, ControlScope.ACCOUNT, Decimal(1_000_000)) in limits
    assert context.repeats == Repeats(last_age_seconds=None, executed=0)


async def test_a_user_who_may_not_trade_the_account_has_no_account(books: Books) -> None:
    assert (await read(books, books.intent(account_id=ACCOUNT_ID))).account is None


async def test_limits_that_expired_or_were_replaced_do_not_count(books: Books) -> None:
    await books.limit(LimitName.DAILY_LOSS, 500)
    await books.run("UPDATE risk_limits SET expires_at = :at WHERE name = 'price_collar'", at=NOW)

    limits = (await read(books, books.intent())).limits
    daily = [limit.value for limit in limits if limit.name is LimitName.DAILY_LOSS]
    assert daily == [Decimal(500)]
    assert all(limit.name is not LimitName.PRICE_COLLAR for limit in limits)


async def test_only_the_controls_that_concern_the_order_are_read(books: Books) -> None:
    scopes = {"account": ("demo", "other"), "symbol": ("EURUSD", "XAUUSD"), "user": (str(books.user_id), "nobody")}
    for scope, ids in scopes.items():
        for scope_id in ids:
            await books.run(
                "INSERT INTO trading_control (scope, scope_id, state, cause, reason, set_by)"
                " VALUES (:scope, :scope_id, 'halted', 'test', 'test', 'test')",
                scope=scope,
                scope_id=scope_id,
            )
    controls = (await read(books, books.intent())).controls
    assert {control.scope_id for control in controls} == {"", "demo", "EURUSD", str(books.user_id)}


async def test_usage_counts_what_is_held_and_open_for_the_user_and_for_the_whole_account(books: Books) -> None:
    await books.reserved()
    other_id = await books.add_trader("other")
    await books.reserved(user_id=other_id)
    trade = await books.accepted(user_id=other_id)
    await books.book(make_fill(magic=trade.progress.magic))
    await books.show_positions(make_position(stop_loss=price("1.09900"), price_current=price("1.10000")))

    context = await read(books, books.intent())

    whole, mine = usage(context, ControlScope.ACCOUNT), usage(context, ControlScope.USER)
    assert (whole.held_loss, mine.held_loss) == (Decimal("440.84"), Decimal("220.42"))
    assert (whole.held_margin, mine.held_margin) == (Decimal("220.42"), Decimal("110.21"))
    assert (whole.symbol_notional, mine.symbol_notional) == (Decimal("33042.00"), Decimal("11021.00"))
    assert (whole.open_loss, mine.open_loss) == (Decimal("10.00"), Decimal(0))
    assert (whole.realised_today, mine.realised_today) == (Decimal("-0.35"), Decimal(0))


async def test_yesterdays_result_is_not_todays(books: Books) -> None:
    trade = await books.accepted()
    yesterday = NOW - timedelta(days=1)
    opening = make_fill(magic=trade.progress.magic, executed_at=yesterday)
    await books.book(opening, make_exit(magic=0, executed_at=yesterday, profit=Decimal(-500)))

    assert usage(await read(books, books.intent()), ControlScope.USER).realised_today == 0
    books.now = yesterday
    assert usage(await read(books, books.intent()), ControlScope.USER).realised_today == Decimal("-500.70")


async def test_a_position_from_before_today_counts_from_its_mark(books: Books) -> None:
    old = make_position(
        opened_at=NOW - timedelta(days=1), price_current=price("1.09950"), stop_loss=price("1.09900")
    )
    await books.show_positions(old)
    await books.show_positions(replace(old, price_current=price("1.09970")))

    assert usage(await read(books, books.intent()), ControlScope.ACCOUNT).open_loss == Decimal("5.00")


async def test_a_position_that_nothing_values_is_named(books: Books) -> None:
    await books.show_positions(make_position(symbol="XAUUSD"))
    assert (await read(books, books.intent())).unvalued == ("XAUUSD",)


async def test_what_one_close_holds_is_not_free_for_another(books: Books) -> None:
    await books.show_positions(make_position(volume=lots("0.30")))
    close = {"side": Side.SELL, "position_id": 7001}
    assert await free(books, **close) == lots("0.30")

    await books.reserved(**close)

    assert await free(books, **close) == lots("0.20")


async def test_orders_positions_and_messages_are_counted_with_the_order_itself(books: Books) -> None:
    other_id = await books.add_trader("other")
    await books.reserved()
    await books.reserved(user_id=other_id)
    await books.accepted(received_at=NOW - timedelta(minutes=2))
    await books.show_positions(make_position(), make_position(position_id=7002, ticket=7002, symbol="XAUUSD"))

    context = await read(books, books.intent())

    whole, mine = usage(context, ControlScope.ACCOUNT), usage(context, ControlScope.USER)
    assert (whole.open_orders, mine.open_orders) == (2, 1)
    assert (whole.open_positions, mine.open_positions) == (5, 2)
    assert (whole.messages, mine.messages) == (3, 2)


async def test_positions_of_a_netting_account_are_counted_by_symbol(netting_books: Books) -> None:
    books = netting_books
    await books.reserved()
    await books.show_positions(make_position())

    assert usage(await read(books, books.intent()), ControlScope.ACCOUNT).open_positions == 1


async def test_the_rolling_result_is_that_of_24_hours_and_of_what_floats(books: Books) -> None:
    trade = await books.accepted()
    opened = NOW - timedelta(hours=30)
    opening = make_fill(magic=trade.progress.magic, executed_at=opened, volume=lots("0.20"))
    old = make_exit(magic=0, executed_at=NOW - timedelta(hours=24), profit=Decimal(-700), commission=Decimal(0))
    late = make_exit(
        magic=0,
        ticket=9003,
        broker_order_id=7003,
        executed_at=NOW - timedelta(hours=23, minutes=59),
        profit=Decimal(-500),
        commission=Decimal(0),
    )
    await books.book(opening, old, late)
    await books.show_positions(make_position(profit=Decimal(-30), swap=Decimal(-1)))

    context = await read(books, books.intent())

    assert usage(context, ControlScope.USER).rolling_result == Decimal(-531)


async def test_only_identical_orders_that_passed_the_gates_are_repeats(books: Books) -> None:
    sent = await books.reserved(received_at=NOW - timedelta(seconds=4))
    await books.accepted(received_at=NOW - timedelta(seconds=1))
    await books.reserved(received_at=NOW - timedelta(seconds=2), stop_loss=price("1.09000"))
    await books.reserved(received_at=NOW - timedelta(seconds=2), user_id=await books.add_trader("other"))

    assert (await read(books, books.intent())).repeats == Repeats(last_age_seconds=Decimal(4), executed=0)
    await books.book(make_fill(magic=sent.progress.magic))
    assert (await read(books, books.intent())).repeats.executed == 1
    assert (await read(books, sent.intent)).repeats.last_age_seconds is None
