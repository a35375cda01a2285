"""What stops trading by itself, and that not knowing stops it as well."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from temporalio.testing import ActivityEnvironment

from activities.triggers import Triggers
from db import audit_faults, stops, triggers
from db.resumption import remaining_causes
from db.trades import Trade
from domain.audit import Fault, FaultKind
from domain.controls import ControlScope, ControlState
from domain.errors import LeaseLost
from domain.fills import FillKind
from domain.limits import LimitName
from domain.money import ZERO, Lots
from domain.orders import BrokerOrder, OrderState
from tests.activities.broker import ScriptedBroker, make_sender, take_lease
from tests.db.books import Books
from tests.factories import NOW, lots, make_exit, make_fill, make_order, make_position, price

PATIENCE = timedelta(seconds=60)

_tickets = itertools.count(20_000)


async def watching(books: Books, *, now: Callable[[], datetime] | None = None) -> Triggers:
    sender = make_sender(books, await take_lease(books), ScriptedBroker())
    return Triggers(
        books.broker,
        sender,
        data_age_max=timedelta(seconds=5),
        link_patience=PATIENCE,
        now=now or (lambda: books.now),
    )


async def watch(books: Books, *orders: BrokerOrder) -> None:
    await ActivityEnvironment().run((await watching(books)).watch, orders)


async def controls(books: Books) -> list[tuple[str, str, str, str]]:
    rows = await books.rows(
        "SELECT scope, scope_id, state, cause FROM trading_control WHERE state <> 'active' ORDER BY scope"
    )
    return [(row["scope"], row["scope_id"], row["state"], row["cause"]) for row in rows]


async def lose(books: Books, amount: int) -> None:
    """Book a loss of that much for the trader, today."""
    trade = await sent(books)
    await books.book(
        make_fill(
            magic=trade.progress.magic,
            commission=ZERO,
            ticket=next(_tickets),
            broker_order_id=(order := next(_tickets)),
            position_id=order,
        ),
        make_exit(magic=0, profit=Decimal(-amount), commission=ZERO, ticket=next(_tickets), position_id=order),
    )


async def sent(books: Books) -> Trade:
    """A trade with a claim, as the sender makes it."""
    trade = await books.accepted()
    await books.run(
        "INSERT INTO send_attempts (trade_id, number, account_id, magic, lease_number)"
        " VALUES (:id, 1, :account, :magic, 1)",
        id=trade.id,
        account=books.account.id,
        magic=trade.progress.magic,
    )
    return trade


async def test_nothing_stops_while_nothing_trips(books: Books) -> None:
    await lose(books, 100)
    await watch(books)
    assert await controls(books) == []


async def test_a_daily_loss_that_is_reached_lets_nothing_open_on_the_account(books: Books) -> None:
    await books.limit(LimitName.DAILY_LOSS, 500)
    await lose(books, 499)
    await watch(books)
    assert await controls(books) == []

    await lose(books, 1)
    await watch(books)
    assert await controls(books) == [("account", "demo", "reduce_only", "daily_loss")]
    assert (await books.reserved()).state is OrderState.DENIED


async def test_what_floats_counts_from_where_the_day_began(books: Books) -> None:
    await books.limit(LimitName.DAILY_LOSS, 100)
    await books.show_positions(make_position(price_current=price("1.09000")))
    await watch(books)
    assert await controls(books) == [("account", "demo", "reduce_only", "daily_loss")]


async def test_a_limit_of_one_user_stops_that_user_alone(books: Books) -> None:
    await books.limit(LimitName.DAILY_LOSS, 300, user_id=books.user_id)
    await lose(books, 300)
    await watch(books)
    assert await controls(books) == [("user", str(books.user_id), "reduce_only", "daily_loss")]
    other = await books.reserved(user_id=await books.add_trader("other"))
    assert other.state is OrderState.PENDING


async def test_a_loss_of_24_hours_stops_though_the_day_is_new(books: Books) -> None:
    await books.limit(LimitName.ROLLING_LOSS, 400)
    yesterday = NOW - timedelta(hours=20)
    trade = await sent(books)
    await books.book(
        make_fill(magic=trade.progress.magic, commission=ZERO, executed_at=yesterday),
        make_exit(magic=0, profit=Decimal(-400), commission=ZERO, executed_at=yesterday),
    )
    await watch(books)
    assert await controls(books) == [("account", "demo", "reduce_only", "rolling_loss")]


@pytest.mark.parametrize(
    "kind", [FillKind.BALANCE, FillKind.CREDIT, FillKind.CORRECTION, FillKind.COMMISSION, FillKind.INTEREST]
)
async def test_money_that_moves_without_a_trade_trips_no_loss_limit(books: Books, kind: FillKind) -> None:
    """Trap 26: withdrawals, corrections and charges are no trading losses."""
    await books.limit(LimitName.DAILY_LOSS, 10)
    await books.limit(LimitName.ROLLING_LOSS, 10)
    moved = make_fill(magic=0, broker_order_id=0, position_id=0, volume=Lots(ZERO), commission=ZERO)
    await books.book(replace(moved, kind=kind, profit=Decimal(-5000)))
    await watch(books)
    assert await controls(books) == []


async def test_more_orders_executed_than_sent_halts_at_once(books: Books) -> None:
    trade = await sent(books)
    magic = trade.progress.magic
    await books.book(make_fill(magic=magic, volume=lots("0.05")))
    await books.book(make_fill(magic=magic, volume=lots("0.05"), ticket=9102))
    await watch(books)
    assert await controls(books) == []

    await books.book(make_fill(magic=magic, ticket=9103, broker_order_id=7003, position_id=7003))
    await watch(books)
    assert await controls(books) == [("account", "demo", "halted", "surplus_send")]


async def test_two_orders_that_rest_under_one_number_halt_at_once(books: Books) -> None:
    magic = (await sent(books)).progress.magic
    await watch(books, make_order(magic=magic), make_order(magic=5, broker_order_id=7009))
    assert await controls(books) == []

    await watch(books, make_order(magic=magic), make_order(magic=magic, broker_order_id=7002))
    assert await controls(books) == [("account", "demo", "halted", "surplus_send")]


async def test_slippage_over_and_over_stops_opening(books: Books) -> None:
    for number in range(3):
        await books.run(
            "INSERT INTO alerts (key, severity, kind, account_id, summary, raised_at)"
            " VALUES (:key, 'warning', 'slippage', :account, 'slipped', :at)",
            key=f"slippage:{number}",
            account=books.account.id,
            at=NOW - timedelta(minutes=number),
        )
        await watch(books)
        assert bool(await controls(books)) == (number == 2)


async def test_triggers_that_cannot_be_evaluated_stop_trading(books: Books) -> None:
    """Trap 12: a kill switch whose profit and loss calculation throws trips."""
    await books.run("UPDATE broker_accounts SET day_zone = 'Nowhere/Never'")
    await watch(books)
    assert await controls(books) == [("account", "demo", "reduce_only", "evaluation_failed")]


async def test_a_broker_that_gives_no_reading_for_long_stops_opening(books: Books) -> None:
    clock = [NOW]
    watched = await watching(books, now=lambda: clock[0])
    clock[0] = NOW + PATIENCE
    await ActivityEnvironment().run(watched.miss)
    assert await controls(books) == []

    clock[0] = NOW + PATIENCE + timedelta(seconds=1)
    await ActivityEnvironment().run(watched.miss)
    await ActivityEnvironment().run(watched.miss)
    assert await controls(books) == [("account", "demo", "reduce_only", "link_lost")]
    assert await books.scalar("SELECT count(*) FROM emergency_stops") == 1


async def test_a_trigger_sets_one_stop_however_often_it_trips(books: Books) -> None:
    await books.limit(LimitName.DAILY_LOSS, 100)
    await lose(books, 100)
    await watch(books)
    await watch(books)
    assert await books.scalar("SELECT count(*) FROM emergency_stops") == 1
    assert await books.scalar("SELECT count(*) FROM alerts WHERE kind = 'stop'") == 1


async def test_a_trigger_loosens_no_tighter_stop(books: Books) -> None:
    await books.run(
        "INSERT INTO trading_control (scope, scope_id, state, cause, reason, set_by)"
        " VALUES ('account', 'demo', 'halted', 'person', 'test', 'test')"
    )
    await books.limit(LimitName.DAILY_LOSS, 100)
    await lose(books, 100)
    await watch(books)
    assert await controls(books) == [("account", "demo", "halted", "person")]


async def test_a_sender_without_its_lease_stops_nothing(books: Books) -> None:
    watched = await watching(books)
    await take_lease(books)
    await books.limit(LimitName.DAILY_LOSS, 100)
    await lose(books, 100)
    with pytest.raises(LeaseLost):
        await ActivityEnvironment().run(watched.watch, ())
    assert await controls(books) == []


async def test_a_stop_of_a_trigger_is_ended_by_an_admin_and_trips_anew_while_its_cause_lasts(books: Books) -> None:
    await books.limit(LimitName.DAILY_LOSS, 100)
    await lose(books, 100)
    await watch(books)
    async with books.owner.connect() as connection:
        (stop,) = await stops.list_stops(connection, limit=9)
    assert (stop.stop.resume_role, stop.stop.mode) == ("admin", ControlState.REDUCE_ONLY)

    async with books.owner.begin() as connection:
        await stops.resume(connection, ControlScope.ACCOUNT, "demo", actor="test", reason="test")
    async with books.broker.connect() as connection:
        again = await triggers.tripped(
            connection, books.account, resting={}, now=books.now, data_age_max=timedelta(seconds=5)
        )
    assert [each.cause for each in again] == ["daily_loss"]


async def test_an_audit_record_that_is_not_as_it_was_sealed_halts_everything_until_a_person_accepts_it(
    books: Books,
) -> None:
    async with books.owner.begin() as connection:
        await audit_faults.note(
            connection,
            Fault(kind=FaultKind.ROW_ALTERED, message="row 7 (id 9) is not what was sealed", seal_number=2),
        )
    await watch(books)
    await watch(books)
    assert await controls(books) == [("all", "", "halted", "audit_broken")]
    assert await books.scalar("SELECT count(*) FROM emergency_stops") == 1

    async def remaining() -> list[str]:
        async with books.owner.begin() as connection:
            held = await stops.stopped(connection, ControlScope.ALL, "")
            return await remaining_causes(connection, held, now=books.now, data_age_max=timedelta(seconds=5))

    (left,) = await remaining()
    assert "row 7 (id 9) is not what was sealed" in left
    async with books.owner.begin() as connection:
        (fault,) = await audit_faults.list_standing(connection)
        await audit_faults.accept(connection, fault.id, actor="user:risk", reason="a restore, looked into")
    assert await remaining() == []
