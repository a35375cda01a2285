"""What waits for a person: when no decision holds, who is reminded, and trading that stays stopped meanwhile."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from temporalio.testing import ActivityEnvironment

from activities.deciding import DiscrepancyProgress, Remind
from db.resumption import remaining_causes
from db.stops import resume, stopped
from domain.controls import ControlScope
from domain.discrepancies import Decision, DiscrepancyState
from domain.errors import DecisionRefused, DiscrepancyNotFound
from domain.reconciliation import Verdict
from tests.activities.concluding import (
    alerts,
    balance_gap,
    controls,
    decide,
    deciding,
    discrepancies,
    entries,
    found,
    money_record,
    opened,
    order_gap,
    position_gap,
    position_lots,
    read_side,
    states,
    waiting_gap,
    waiting_position,
)
from tests.db.books import Books
from tests.factories import make_fill

S = DiscrepancyState
SECOND = timedelta(seconds=1)
DEAR = Decimal(10_000)


async def remaining(books: Books) -> list[str]:
    """What still speaks against trading on the stopped account."""
    async with books.owner.begin() as connection:
        held = await stopped(connection, ControlScope.ACCOUNT, "demo")
        return await remaining_causes(connection, held, now=books.now, data_age_max=timedelta(seconds=5))


# Refused.


@pytest.mark.parametrize("decision", [Decision.ACCEPT, Decision.DISPUTE])
async def test_no_decision_holds_for_books_that_have_moved_on(books: Books, decision: Decision) -> None:
    await opened(books)
    waiting = await waiting_gap(books, "250")
    await books.book(money_record("50", ago=SECOND, books=books))

    with pytest.raises(DecisionRefused, match="moved on"):
        await decide(books, waiting, decision)

    assert (await states(books), await entries(books, "unexplained")) == ([S.OPEN], [])
    # The next run says what it amounts to now, and that may be accepted.
    await found(books, await balance_gap(books, "200"))
    await decide(books, waiting, Decision.ACCEPT)
    assert (await read_side(books)).side.balance == Decimal(10_250)


async def test_a_position_that_has_moved_on_is_not_adopted(books: Books) -> None:
    await opened(books)
    waiting = await waiting_position(books, 7001, "0.10")
    await books.book(make_fill(magic=0))
    with pytest.raises(DecisionRefused, match="moved on"):
        await decide(books, waiting, Decision.ADOPT)
    assert await position_lots(books, 7001) == Decimal("0.10")


@pytest.mark.parametrize("decision", [Decision.ADOPT, Decision.CLOSE])
async def test_money_is_neither_adopted_nor_closed(books: Books, decision: Decision) -> None:
    await opened(books)
    waiting = await waiting_gap(books, "250")
    with pytest.raises(DecisionRefused):
        await decide(books, waiting, decision)
    assert await states(books) == [S.OPEN]


@pytest.mark.parametrize("decision", [Decision.ACCEPT, Decision.DISPUTE])
async def test_what_is_in_motion_is_nobodys_to_decide(books: Books, decision: Decision) -> None:
    await opened(books)
    await found(books, kept_out=(await balance_gap(books, "250"),))
    with pytest.raises(DecisionRefused, match="in motion"):
        await decide(books, (await discrepancies(books))[0]["id"], decision)
    assert (await states(books), await entries(books, "unexplained")) == ([S.KEPT_OUT], [])


async def test_what_nobody_has_found_is_not_decided(books: Books) -> None:
    with pytest.raises(DiscrepancyNotFound):
        await decide(books, UUID(int=1), Decision.ACCEPT)


# Waiting.


async def test_a_disputed_discrepancy_goes_on_waiting(books: Books) -> None:
    await opened(books)
    waiting = await waiting_gap(books, "250")

    progress = await decide(books, waiting, Decision.DISPUTE)

    assert (progress.state, progress.waits) == (S.DISPUTED, True)
    assert (await entries(books, "unexplained"), await alerts(books)) == ([], [("discrepancy", "warning", False)])
    assert (await found(books, await balance_gap(books, "250"))).reviews == (waiting,)
    assert await states(books) == [S.DISPUTED]

    # The broker puts it right.
    assert (await found(books)).ended == (waiting,)
    assert (await states(books), await alerts(books)) == ([S.EXPLAINED], [("discrepancy", "warning", True)])


async def test_a_disputed_discrepancy_may_be_accepted_after_all(books: Books) -> None:
    await opened(books)
    waiting = await waiting_gap(books, "250")
    await decide(books, waiting, Decision.DISPUTE)
    await decide(books, waiting, Decision.ACCEPT, reason="the broker is right")
    assert (await states(books), await entries(books, "unexplained")) == ([S.ACCEPTED], [Decimal(-250)])


async def test_what_is_accepted_and_enters_nothing_is_no_news_until_it_changes(books: Books) -> None:
    await opened(books)
    (waiting,) = (await found(books, order_gap())).reviews
    await decide(books, waiting, Decision.ACCEPT)

    assert (await found(books, order_gap())).verdict is Verdict.CLEAN
    changed = replace(order_gap(), theirs=Decimal(2))
    assert (await found(books, order_gap(7002), changed)).verdict is Verdict.REVIEW
    assert await states(books) == [S.ACCEPTED, S.OPEN, S.OPEN]


async def test_reminders_become_critical_and_end_with_the_decision(books: Books) -> None:
    await opened(books)
    waiting = await waiting_gap(books, "250")

    async def remind(count: int) -> DiscrepancyProgress:
        step = Remind(discrepancy_id=waiting, count=count, waited_hours=count)
        return await ActivityEnvironment().run(deciding(books).remind_of_discrepancy, step)

    assert [(await remind(count)).waits for count in (1, 2, 2, 3)] == [True, True, True, True]
    severities = [severity for kind, severity, _ in await alerts(books) if kind == "discrepancy_waits"]
    assert severities == ["warning", "warning", "critical"]

    await decide(books, waiting, Decision.ACCEPT)
    assert (await remind(4)).state is S.ACCEPTED
    assert len(await alerts(books)) == 4


# Trading again.


@pytest.mark.parametrize("decision", [Decision.ADOPT, Decision.CLOSE, Decision.ACCEPT])
async def test_what_stopped_trading_is_decided_before_it_is_opened_again(books: Books, decision: Decision) -> None:
    await opened(books)
    waiting = await waiting_position(books, 7001, "0.10", impact=DEAR)
    assert await controls(books) == [("account", "demo", "halted", "unexplained_difference")]
    (cause,) = await remaining(books)
    assert "EURUSD #7001" in cause
    assert str(waiting) in cause

    await decide(books, waiting, Decision.DISPUTE)
    assert len(await remaining(books)) == 1, "a dispute leaves it stopped"

    await decide(books, waiting, decision)
    assert await remaining(books) == []
    async with books.owner.begin() as connection:
        await resume(connection, ControlScope.ACCOUNT, "demo", actor="user:admin", reason="decided")
    assert await controls(books) == []
    assert (await found(books)).verdict is Verdict.CLEAN


async def test_a_review_alone_holds_up_no_resumption(books: Books) -> None:
    await opened(books)
    beyond = await waiting_gap(books, "501")
    await found(books, await balance_gap(books, "501"), await position_gap(books, 7001, "0.01"))
    await decide(books, beyond, Decision.ACCEPT)

    assert await states(books) == [S.ACCEPTED, S.OPEN]
    assert await remaining(books) == []
