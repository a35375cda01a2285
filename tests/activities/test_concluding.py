"""What a run makes of what it found: corrected once, put to a person, or trading stopped."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from domain.discrepancies import DiscrepancyState
from domain.reconciliation import Verdict
from tests.activities.concluding import (
    alerts,
    balance_gap,
    check_sums_of_money,
    conclude,
    controls,
    credit_gap,
    discrepancies,
    entries,
    found,
    make_run,
    opened,
    position_gap,
    read_side,
    states,
)
from tests.db.books import Books
from tests.waiting import until

S = DiscrepancyState
SECOND = timedelta(seconds=1)
HALTED_HERE = ("account", "demo", "halted", "unexplained_difference")


# The first run.


async def test_the_first_run_takes_what_was_there_as_the_start_of_the_books(books: Books) -> None:
    concluded = await found(
        books,
        await balance_gap(books, "10300"),
        await credit_gap(books, "200"),
        await position_gap(books, 7001, "-0.30"),
    )

    side = (await read_side(books)).side
    assert (concluded.verdict, concluded.reviews) == (Verdict.EXPLAINED, ())
    assert (side.balance, side.credit, side.positions[7001].lots) == (
        Decimal(10_300),
        Decimal(200),
        Decimal("-0.30"),
    )
    assert await entries(books, "opening_balance") == [Decimal(-10_300)]
    assert await discrepancies(books) == []
    explained = await books.scalar("SELECT explained FROM reconciliation_log")
    assert [(each["cause"], each["count"], each["tickets"]) for each in explained] == [("opening", 3, [7001])]
    await check_sums_of_money(books)
    assert (await found(books)).verdict is Verdict.CLEAN


async def test_books_are_not_opened_while_something_moves(books: Books) -> None:
    """Else the next run would take all the account has for an unexplained difference, and stop trading."""
    moving = await balance_gap(books, "10000")
    first = await found(books, kept_out=(moving,))
    assert (first.verdict, await discrepancies(books)) == (Verdict.INCONCLUSIVE, [])

    assert (await opened(books)).verdict is Verdict.EXPLAINED
    assert await entries(books, "opening_balance") == [Decimal(-10_000)]
    assert await controls(books) == []


# How much.


@pytest.mark.parametrize("amount", ["99.99", "-99.99"])
async def test_less_than_a_hundred_dollars_is_corrected(books: Books, amount: str) -> None:
    await opened(books)

    concluded = await found(books, await balance_gap(books, amount))

    assert (concluded.verdict, concluded.reviews) == (Verdict.CORRECTED, ())
    assert await entries(books, "unexplained") == [-Decimal(amount)]
    assert (await read_side(books)).side.balance == 10_000 + Decimal(amount)
    (row,) = await discrepancies(books)
    assert (row["state"], row["tier"], row["impact_usd"]) == ("corrected", "correct", Decimal("99.99"))
    assert (row["ended_at"], row["first_run_id"]) == (books.now, concluded.run_id)
    assert await books.scalar("SELECT count(*) FROM ledger_entries WHERE event_id = :id", id=row["event_id"]) == 2
    await check_sums_of_money(books)
    assert (await alerts(books), await controls(books)) == ([("discrepancy", "info", False)], [])
    assert (await found(books)).verdict is Verdict.CLEAN


@pytest.mark.parametrize("amount", ["100.00", "-100.00", "500.00"])
async def test_from_a_hundred_dollars_a_person_is_asked(books: Books, amount: str) -> None:
    await opened(books)

    concluded = await found(books, await balance_gap(books, amount))

    (row,) = await discrepancies(books)
    assert (concluded.verdict, concluded.reviews) == (Verdict.REVIEW, (row["id"],))
    assert (row["state"], row["tier"], row["event_id"]) == ("open", "review", None)
    assert await entries(books, "unexplained") == []
    assert (await alerts(books), await controls(books)) == ([("discrepancy", "warning", False)], [])


@pytest.mark.parametrize(
    ("stop_all", "stopped"),
    [(False, HALTED_HERE), (True, ("all", "", "halted", "unexplained_difference"))],
)
async def test_beyond_five_hundred_dollars_trading_stops(
    books: Books, *, stop_all: bool, stopped: tuple[str, str, str, str]
) -> None:
    await opened(books)

    run = await make_run(books, await balance_gap(books, "-500.01"))
    concluded = await conclude(books, run, stop_all=stop_all)

    assert (concluded.verdict, await states(books)) == (Verdict.STOPPED, [S.OPEN])
    assert concluded.reviews == ((await discrepancies(books))[0]["id"],)
    (stop,) = await books.rows("SELECT scope, scope_id, mode, cause, requested_by FROM emergency_stops")
    assert tuple(stop.values()) == (*stopped, "reconciliation:demo")
    assert await controls(books) == [stopped]
    assert await entries(books, "unexplained") == []
    assert await alerts(books) == [("discrepancy", "critical", False)]


async def test_a_lot_worth_more_than_five_hundred_dollars_stops_and_one_of_less_does_not(books: Books) -> None:
    await opened(books)
    assert (await found(books, await position_gap(books, 7001, "0.01"))).verdict is Verdict.REVIEW
    assert await controls(books) == []

    dear = await position_gap(books, 7002, "0.10", impact=Decimal(10_000))
    assert (await found(books, await position_gap(books, 7001, "0.01"), dear)).verdict is Verdict.STOPPED
    assert (await controls(books), await states(books)) == ([HALTED_HERE], [S.OPEN, S.OPEN])
    assert await books.scalar("SELECT count(*) FROM position_adjustments") == 0


async def test_what_has_no_rate_to_dollars_stops(books: Books) -> None:
    await opened(books)
    assert (await found(books, await balance_gap(books, "0.01", impact=None))).verdict is Verdict.STOPPED
    assert await controls(books) == [HALTED_HERE]


async def test_what_is_corrected_on_one_day_adds_up(books: Books) -> None:
    await opened(books)
    first = await found(books, await balance_gap(books, "60"))
    second = await found(books, await balance_gap(books, "-40"))
    assert (first.verdict, second.verdict) == (Verdict.CORRECTED, Verdict.REVIEW)
    assert await entries(books, "unexplained") == [Decimal(-60)]

    third = await found(books, await balance_gap(books, "-441"))
    assert (third.verdict, await controls(books)) == (Verdict.STOPPED, [HALTED_HERE])


async def test_a_new_day_adds_up_anew(books: Books) -> None:
    await opened(books)
    await found(books, await balance_gap(books, "60"))
    books.now += timedelta(days=1)
    assert (await found(books, await balance_gap(books, "-40"))).verdict is Verdict.CORRECTED


async def test_what_was_kept_out_before_midnight_counts_on_the_day_of_its_correction(books: Books) -> None:
    await opened(books)
    books.now += timedelta(hours=13, minutes=59)
    await found(books, kept_out=(await balance_gap(books, "60"),))
    books.now += timedelta(minutes=2)
    assert (await found(books, await balance_gap(books, "60"))).verdict is Verdict.CORRECTED
    assert (await found(books, await balance_gap(books, "40"))).verdict is Verdict.REVIEW


async def test_opposite_differences_do_not_cancel(books: Books) -> None:
    await opened(books)

    run = await found(books, await balance_gap(books, "60"), await credit_gap(books, "-60"))

    assert run.verdict is Verdict.REVIEW
    assert [(row["kind"], row["state"]) for row in await discrepancies(books)] == [
        ("balance", "corrected"),
        ("credit", "open"),
    ]
    assert await entries(books, "unexplained") == [Decimal(-60)]


async def test_opposite_positions_stop_though_their_lots_add_up_to_nothing(books: Books) -> None:
    await opened(books)
    long, short = [
        await position_gap(books, number, lots, impact=Decimal("500.01"))
        for number, lots in ((7001, "0.10"), (7002, "-0.10"))
    ]
    assert (await found(books, long, short)).verdict is Verdict.STOPPED
    assert [row["ours"] for row in await discrepancies(books)] == [None, None]


# Once.


@pytest.mark.parametrize("amount", ["99.99", "100", "-501"])
async def test_a_run_that_is_concluded_again_gets_the_first_answer(books: Books, amount: str) -> None:
    await opened(books)
    run = await make_run(books, await balance_gap(books, amount))

    first = await conclude(books, run)
    before = (await discrepancies(books), await entries(books, "broker_cash"), await alerts(books))
    again = await conclude(books, run)

    assert again == first
    assert (await discrepancies(books), await entries(books, "broker_cash"), await alerts(books)) == before
    assert await books.scalar("SELECT count(*) FROM reconciliation_log") == 2
    assert await books.scalar("SELECT count(*) FROM emergency_stops") == (amount == "-501")


async def test_two_runs_over_one_difference_correct_it_once(books: Books) -> None:
    await opened(books)
    gap = await balance_gap(books, "42.17")
    first, second = await make_run(books, gap), await make_run(books, gap)

    verdicts = [(await conclude(books, run)).verdict for run in (first, second)]

    # The second one compared what the first one has changed since.
    assert verdicts == [Verdict.CORRECTED, Verdict.INCONCLUSIVE]
    assert await entries(books, "unexplained") == [Decimal("-42.17")]
    assert (await found(books)).verdict is Verdict.CLEAN
    assert await states(books) == [S.CORRECTED]


async def test_a_run_that_dies_at_its_end_leaves_nothing_and_the_next_one_corrects_once(books: Books) -> None:
    await opened(books)
    gap = await balance_gap(books, "42.17")
    run = await make_run(books, gap)
    before = await books.rows("SELECT * FROM audit_log")
    async with books.owner.connect() as blocker:
        await blocker.exec_driver_sql("LOCK TABLE reconciliation_log IN SHARE MODE")
        await _die_waiting(books, conclude(books, run))

    assert (await entries(books, "unexplained"), await discrepancies(books)) == ([], [])
    assert (await alerts(books), await books.rows("SELECT * FROM audit_log")) == ([], before)

    assert (await conclude(books, run)).verdict is Verdict.CORRECTED
    assert await entries(books, "unexplained") == [Decimal("-42.17")]
    assert await states(books) == [S.CORRECTED]


async def _die_waiting(books: Books, work: Awaitable[object]) -> None:
    """Have the server end the connection of the work once that waits for a lock."""
    task = asyncio.ensure_future(work)

    async def waits() -> bool:
        async with books.database.engine("pipeline").connect() as connection:
            ended = await connection.scalar(
                text(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            )
            return bool(ended)

    await until(waits, what="the run to reach its last statement")
    with pytest.raises(DBAPIError):
        await task


async def test_the_same_correction_over_the_same_books_is_for_a_person(books: Books) -> None:
    await opened(books)
    await found(books, await balance_gap(books, "10"))
    await found(books, await balance_gap(books, "-10"))

    concluded = await found(books, await balance_gap(books, "10"))

    assert concluded.verdict is Verdict.REVIEW
    assert await entries(books, "unexplained") == [Decimal(-10), Decimal(10)]
    assert await states(books) == [S.CORRECTED, S.CORRECTED, S.OPEN]
