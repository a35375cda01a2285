"""A person's word on a discrepancy: what it enters, once, and what takes it back."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.discrepancies import Decision, DiscrepancyState
from domain.errors import DecisionRefused, DiscrepancyDecided
from domain.orders import OrderType, Side
from domain.reconciliation import DifferenceKind, Verdict, acceptance_id
from tests.activities.concluding import (
    alerts,
    balance_gap,
    check_sums_of_money,
    credit_gap,
    decide,
    discrepancies,
    entries,
    found,
    money_record,
    opened,
    position_lots,
    read_side,
    states,
    waiting_gap,
    waiting_position,
)
from tests.db.books import Books
from tests.factories import lots, make_fill

S = DiscrepancyState
SECOND = timedelta(seconds=1)
DEAR = Decimal(10_000)


# Money.


@pytest.mark.parametrize("amount", ["250", "-250"])
async def test_accepted_money_is_entered_as_unexplained(books: Books, amount: str) -> None:
    await opened(books)
    waiting = await waiting_gap(books, amount)

    progress = await decide(books, waiting, Decision.ACCEPT)

    assert (progress.state, progress.waits, progress.close) == (S.ACCEPTED, False, None)
    assert (await read_side(books)).side.balance == 10_000 + Decimal(amount)
    assert await entries(books, "unexplained") == [-Decimal(amount)]
    (row,) = await discrepancies(books)
    assert (row["state"], row["event_id"], row["ended_at"]) == ("accepted", acceptance_id(waiting), books.now)
    assert (row["decision"], row["decided_by"], row["reason"]) == ("accept", "user:risk", "told by mail")
    assert await alerts(books) == [("discrepancy", "warning", True)]
    (told,) = await books.rows("SELECT actor, subject FROM audit_log WHERE action = 'discrepancy.accepted'")
    assert told == {"actor": "user:risk", "subject": f"discrepancy:{waiting}"}
    await check_sums_of_money(books)
    assert (await found(books)).verdict is Verdict.CLEAN


async def test_accepted_credit_is_owed_and_leaves_the_balance(books: Books) -> None:
    await opened(books)
    (waiting,) = (await found(books, await credit_gap(books, "250"))).reviews

    await decide(books, waiting, Decision.ACCEPT)

    side = (await read_side(books)).side
    assert (side.balance, side.credit) == (Decimal(10_000), Decimal(250))
    await check_sums_of_money(books)


async def test_what_a_person_accepts_is_no_correction_of_the_day(books: Books) -> None:
    await opened(books)
    await decide(books, await waiting_gap(books, "250"), Decision.ACCEPT)
    assert (await found(books, await balance_gap(books, "99.99"))).verdict is Verdict.CORRECTED


async def test_a_late_record_takes_back_what_a_person_accepted(books: Books) -> None:
    await opened(books)
    await decide(books, await waiting_gap(books, "250"), Decision.ACCEPT)

    late = money_record("250", ago=SECOND, books=books)
    await books.book(late)

    assert (await read_side(books)).side.balance == Decimal(10_250)
    assert await entries(books, "unexplained") == [Decimal(-250), Decimal(250)]
    (row,) = await discrepancies(books)
    assert (row["state"], row["cause_ticket"], row["decision"]) == ("explained", late.ticket, "accept")


# Positions.


@pytest.mark.parametrize(("decision", "state"), [(Decision.ADOPT, S.ADOPTED), (Decision.ACCEPT, S.ACCEPTED)])
async def test_an_adopted_position_has_the_brokers_lots_in_the_books(
    books: Books, decision: Decision, state: DiscrepancyState
) -> None:
    await opened(books)
    await books.book(make_fill(magic=0, volume=lots("0.30")))
    waiting = await waiting_position(books, 7001, "-0.10")

    progress = await decide(books, waiting, decision)

    assert (progress.state, await position_lots(books, 7001)) == (state, Decimal("-0.10"))
    (row,) = await books.rows("SELECT position_id, lots, price, discrepancy_id FROM position_adjustments")
    assert tuple(row.values()) == (7001, Decimal("-0.40"), None, waiting)
    assert (await found(books)).verdict is Verdict.CLEAN


async def test_a_position_that_the_broker_does_not_show_is_only_accepted(books: Books) -> None:
    await opened(books)
    await books.book(make_fill(magic=0))
    waiting = await waiting_position(books, 7001, "0")
    assert (await discrepancies(books))[0]["kind"] == DifferenceKind.POSITION_MISSING

    for decision in (Decision.ADOPT, Decision.CLOSE):
        with pytest.raises(DecisionRefused):
            await decide(books, waiting, decision)
    assert (await states(books), await position_lots(books, 7001)) == ([S.OPEN], Decimal("0.10"))

    await decide(books, waiting, Decision.ACCEPT)
    assert await position_lots(books, 7001) is None


async def test_a_late_fill_takes_an_adoption_back(books: Books) -> None:
    await opened(books)
    waiting = await waiting_position(books, 7001, "0.10")
    await decide(books, waiting, Decision.ADOPT)

    late = make_fill(magic=0, executed_at=books.now - SECOND)
    await books.book(late)

    assert await position_lots(books, 7001) == Decimal("0.10")
    assert await books.scalar("SELECT array_agg(lots ORDER BY made_at) FROM position_adjustments") == [
        Decimal("0.10"),
        Decimal("-0.10"),
    ]
    (row,) = await discrepancies(books)
    assert (row["state"], row["cause"], row["cause_ticket"]) == ("explained", "late_deal", late.ticket)


async def test_a_position_that_is_closed_asks_for_the_order_that_does_it(books: Books) -> None:
    await opened(books)
    waiting = await waiting_position(books, 7001, "-0.10", impact=DEAR)

    progress = await decide(books, waiting, Decision.CLOSE)

    order = progress.close
    assert order is not None
    assert (order.symbol, order.side, order.volume, order.order_type) == (
        "EURUSD",
        Side.BUY,
        lots("0.10"),
        OrderType.MARKET,
    )
    assert (order.user_id, order.position_id) == (books.user_id, 7001)
    assert order.stop_id == await books.scalar("SELECT id FROM emergency_stops"), "it passes the stop it led to"
    # Its fill takes away what the books have of it now.
    assert (progress.state, await position_lots(books, 7001)) == (S.CLOSED, Decimal("-0.10"))


# Once.


@pytest.mark.parametrize("decision", [Decision.ACCEPT, Decision.CLOSE])
async def test_a_decision_that_is_carried_out_again_gets_the_first_answer(
    books: Books, decision: Decision
) -> None:
    """The first answer may be lost: the worker died between its commit and the workflow's history."""
    await opened(books)
    waiting = await waiting_position(books, 7001, "0.10")
    first = await decide(books, waiting, decision)
    before = await discrepancies(books)
    books.now += SECOND

    again = await decide(books, waiting, decision)

    assert (again.state, again.told) == (first.state, first.told)
    if first.close is None:
        assert again.close is None
    else:
        assert again.close is not None
        assert (again.close.trade_id, again.close.body_hash) == (first.close.trade_id, first.close.body_hash)
    assert (await discrepancies(books), await position_lots(books, 7001)) == (before, Decimal("0.10"))


@pytest.mark.parametrize(
    "other", [{"decision": Decision.DISPUTE}, {"by": "user:other"}, {"reason": "on second thoughts"}]
)
async def test_what_is_decided_is_not_decided_again(books: Books, other: dict[str, Any]) -> None:
    await opened(books)
    waiting = await waiting_gap(books, "250")
    await decide(books, waiting, Decision.ACCEPT)
    before = await discrepancies(books)

    with pytest.raises(DiscrepancyDecided):
        await decide(books, waiting, **{"decision": Decision.ACCEPT, **other})

    assert (await discrepancies(books), await entries(books, "unexplained")) == (before, [Decimal(-250)])


async def test_a_correction_leaves_nothing_to_decide(books: Books) -> None:
    await opened(books)
    await found(books, await balance_gap(books, "42.17"))
    with pytest.raises(DiscrepancyDecided):
        await decide(books, (await discrepancies(books))[0]["id"], Decision.ACCEPT)
    assert await entries(books, "unexplained") == [Decimal("-42.17")]
