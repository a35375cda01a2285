"""What runs make of books and differences that move on between them, and what each run leaves behind."""

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.discrepancies import DiscrepancyState
from domain.reconciliation import RunCause, Verdict
from tests.activities.concluding import (
    alerts,
    balance_gap,
    check_sums_of_money,
    conclude,
    controls,
    discrepancies,
    entries,
    found,
    make_run,
    money_record,
    opened,
    order_gap,
    position_gap,
    read_side,
    states,
    waiting_gap,
)
from tests.db.books import Books

S = DiscrepancyState
SECOND = timedelta(seconds=1)
HALTED_HERE = ("account", "demo", "halted", "unexplained_difference")


# Books that move on.


async def test_nothing_follows_where_a_record_was_booked_after_the_comparison(books: Books) -> None:
    await opened(books)
    await books.run("UPDATE broker_accounts SET unreconciled_since = :at", at=books.now - SECOND)
    run = await make_run(books, await balance_gap(books, "-600"), await position_gap(books, 7001, "0.10"))
    await books.book(money_record("-600", ago=SECOND, books=books))

    concluded = await conclude(books, run)

    assert (concluded.verdict, concluded.reviews) == (Verdict.INCONCLUSIVE, ())
    assert (await entries(books, "unexplained"), await discrepancies(books)) == ([], [])
    assert await controls(books) == []
    assert "moved on" in await books.scalar("SELECT reason FROM reconciliation_log WHERE id = :id", id=run.run_id)
    assert await books.scalar("SELECT unreconciled_since FROM broker_accounts") == books.now - SECOND


async def test_a_late_record_takes_the_correction_back_in_its_own_transaction(books: Books) -> None:
    await opened(books)
    await found(books, await balance_gap(books, "99.99"))
    late = money_record("99.99", ago=SECOND, books=books)

    await books.book(late)

    assert await entries(books, "unexplained") == [Decimal("-99.99"), Decimal("99.99")]
    assert sum(await entries(books, "broker_cash")) == Decimal("10099.99")
    (row,) = await discrepancies(books)
    assert (row["state"], row["cause"], row["cause_ticket"]) == ("explained", "late_deal", late.ticket)
    # What a transaction has written carries its number.
    written = (
        "SELECT count(DISTINCT xmin::text) FROM (SELECT xmin FROM fills UNION ALL SELECT xmin FROM discrepancies"
    )
    reversal = " UNION ALL SELECT xmin FROM ledger_entries WHERE reverses_event_id IS NOT NULL) w"
    assert await books.scalar(written + reversal) == 1
    await check_sums_of_money(books)
    assert (await found(books)).verdict is Verdict.EXPLAINED


@pytest.mark.parametrize("amount", ["99.99", "20"])
async def test_after_a_late_record_only_what_still_differs_is_found(books: Books, amount: str) -> None:
    await opened(books)
    await found(books, await balance_gap(books, "99.99"))
    await books.book(money_record(amount, ago=SECOND, books=books))

    left = Decimal("99.99") - Decimal(amount)
    if left:
        assert (await found(books, await balance_gap(books, left))).verdict is Verdict.CORRECTED
    assert (await read_side(books)).side.balance == Decimal("10099.99")
    assert sum(await entries(books, "unexplained")) == -left


async def test_a_record_that_came_after_the_reading_leaves_the_correction(books: Books) -> None:
    await opened(books)
    await found(books, await balance_gap(books, "99.99"))

    await books.book(money_record("50", ago=-SECOND, books=books))
    await books.book(money_record("0", ago=SECOND, books=books))

    assert await entries(books, "unexplained") == [Decimal("-99.99")]
    assert await states(books) == [S.CORRECTED]


# What moves.


async def test_what_is_kept_out_over_and_over_is_told_and_passes_when_gone(books: Books) -> None:
    await opened(books)
    for count in range(1, 7):
        concluded = await found(books, kept_out=(await balance_gap(books, "-700"),))
        assert (concluded.verdict, concluded.reviews) == (Verdict.WAITING, ())
        assert await alerts(books) == ([("discrepancy", "warning", False)] if count >= 5 else [])
    assert (await states(books), (await discrepancies(books))[0]["run_count"]) == ([S.KEPT_OUT], 6)

    concluded = await found(books)

    assert (concluded.verdict, concluded.ended) == (Verdict.CLEAN, ())
    assert (await states(books), await controls(books)) == ([S.PASSED], [])
    assert await alerts(books) == [("discrepancy", "warning", True)]


@pytest.mark.parametrize(("amount", "state"), [("99.99", S.CORRECTED), ("100", S.OPEN)])
async def test_what_was_kept_out_and_comes_to_rest_is_acted_on(
    books: Books, amount: str, state: DiscrepancyState
) -> None:
    await opened(books)
    await found(books, kept_out=(await balance_gap(books, amount),))
    first = (await discrepancies(books))[0]["id"]

    await found(books, await balance_gap(books, amount))

    assert [(row["id"], row["state"], row["run_count"]) for row in await discrepancies(books)] == [
        (first, state, 2)
    ]


async def test_what_a_person_was_asked_about_stays_theirs_while_it_moves(books: Books) -> None:
    await opened(books)
    waiting = await waiting_gap(books, "200")

    moving = await found(books, kept_out=(await balance_gap(books, "200"),))
    shrunk = await found(books, await balance_gap(books, "20"))

    assert (moving.verdict, moving.reviews) == (Verdict.REVIEW, (waiting,))
    assert (shrunk.verdict, shrunk.reviews) == (Verdict.REVIEW, (waiting,))
    (row,) = await discrepancies(books)
    assert (row["state"], row["impact_usd"], row["run_count"]) == ("open", Decimal(20), 2)
    assert await entries(books, "unexplained") == []


async def test_what_grows_beyond_the_bound_stops_trading_then(books: Books) -> None:
    await opened(books)
    waiting = await waiting_gap(books, "200")
    concluded = await found(books, await balance_gap(books, "501"))
    assert (concluded.verdict, concluded.reviews, await controls(books)) == (
        Verdict.STOPPED,
        (waiting,),
        [HALTED_HERE],
    )

    assert (await found(books, await balance_gap(books, "501"))).verdict is Verdict.STOPPED
    assert await books.scalar("SELECT count(*) FROM emergency_stops") == 1


async def test_what_was_open_and_is_gone_is_explained(books: Books) -> None:
    await opened(books)
    waiting = await waiting_gap(books, "-600")
    await books.book(money_record("-600", ago=SECOND, books=books))

    concluded = await found(books)

    assert (concluded.verdict, concluded.reviews, concluded.ended) == (Verdict.EXPLAINED, (), (waiting,))
    (row,) = await discrepancies(books)
    assert (row["state"], row["cause"], row["ended_at"]) == ("explained", "late_deal", books.now)
    assert await alerts(books) == [("discrepancy", "critical", True)]
    # What was stopped is opened again by a person, and by nothing else.
    assert await controls(books) == [HALTED_HERE]


# What a run leaves behind.


async def test_a_run_at_start_up_says_what_happened_meanwhile(books: Books) -> None:
    await opened(books)
    ended_at = await books.scalar("SELECT ended_at FROM reconciliation_log")
    books.now += timedelta(hours=8)
    await books.book(
        money_record("-30", ago=timedelta(hours=1), books=books),
        money_record("100", ago=timedelta(hours=2), books=books),
        money_record("50", ago=timedelta(hours=3), books=books),
    )

    run = await found(books, await balance_gap(books, "250"), cause=RunCause.STARTUP)

    report = await books.scalar("SELECT report FROM reconciliation_log WHERE id = :id", id=run.run_id)
    assert report == {
        "away_since": ended_at.isoformat(),
        "happened": ["2 deposit, 150 USD", "1 withdrawal, -30 USD"],
        "needs_person": True,
    }


async def test_a_quiet_night_needs_nobody(books: Books) -> None:
    await opened(books)
    run = await found(books, cause=RunCause.STARTUP)
    report = await books.scalar("SELECT report FROM reconciliation_log WHERE id = :id", id=run.run_id)
    assert (report["happened"], report["needs_person"]) == ([], False)


async def test_only_a_run_that_read_the_account_since_lets_it_trade(books: Books) -> None:
    since = "SELECT unreconciled_since FROM broker_accounts"
    await opened(books)
    await books.run("UPDATE broker_accounts SET unreconciled_since = :at", at=books.now)

    unread = await found(books, read_at=None, reason="the broker could not be read: away")
    assert (unread.verdict, await books.scalar(since)) == (Verdict.INCONCLUSIVE, books.now)
    assert (await found(books, read_at=books.now - SECOND)).verdict is Verdict.CLEAN
    assert await books.scalar(since) == books.now

    assert (await found(books, await balance_gap(books, "200"))).verdict is Verdict.REVIEW
    assert await books.scalar(since) is None


async def test_a_run_that_read_nothing_ends_nothing(books: Books) -> None:
    await opened(books)
    waiting = await waiting_gap(books, "200")
    await found(books, await balance_gap(books, "200"), kept_out=(order_gap(),))

    concluded = await found(books, read_at=None, reason="the broker could not be read: away")

    assert (concluded.verdict, concluded.reviews, concluded.ended) == (Verdict.INCONCLUSIVE, (waiting,), ())
    assert await states(books) == [S.OPEN, S.KEPT_OUT]


async def test_every_change_is_recorded(books: Books) -> None:
    await opened(books)
    await found(books, await balance_gap(books, "60"))
    await found(books, await balance_gap(books, "600"), kept_out=(order_gap(),))
    await found(books)

    rows = await books.rows(
        "SELECT action, count(*) AS count FROM audit_log WHERE action ~ '^(disc|recon)' GROUP BY action"
    )
    assert {row["action"]: row["count"] for row in rows} == {
        "discrepancy.corrected": 1,
        "discrepancy.open": 1,
        "discrepancy.kept_out": 1,
        "discrepancy.explained": 1,
        "discrepancy.passed": 1,
        "reconciliation.explained": 1,
        "reconciliation.corrected": 1,
        "reconciliation.stopped": 1,
        "reconciliation.clean": 1,
    }


async def test_runs_that_come_to_nothing_are_told_once_there_are_five_in_a_row(books: Books) -> None:
    await opened(books)

    async def in_vain() -> None:
        await conclude(books, await make_run(books, reason="the broker could not be read"))

    for _ in range(4):
        await in_vain()
    assert await alerts(books) == []

    for _ in range(2):
        await in_vain()
    (alert,) = await books.rows("SELECT kind, severity, cleared_at FROM alerts")
    assert alert == {"kind": "reconciliation_inconclusive", "severity": "critical", "cleared_at": None}

    await found(books)
    assert await books.scalar("SELECT count(*) FROM alerts WHERE cleared_at IS NULL") == 0
