"""Seeded crashes of the product's own code leave no trace in the books, and a broken product is found out."""

from dataclasses import replace
from typing import Any

import pytest

from activities.feed_books import FeedBooks
from brokers.mt5 import mapping, sending
from brokers.mt5.adapter import Mt5Broker
from brokers.mt5.outcomes import Unclear
from domain.orders import Rejected
from stack.chaos.cells import CELLS, Blow, Cell, Step
from stack.chaos.rehearsal import Outcome, rehearse
from stack.chaos.runs import play
from stack.chaos.verdicts import Fault
from stack.scratch import Database

# The whole matrix is a command of its own.
SAMPLE = range(2, len(CELLS), 16)


async def played(seed: int, books: Database) -> Outcome:
    return await rehearse(seed, books, broken_before=frozenset())


def seed_of(cell: Cell) -> int:
    return CELLS.index(cell)


def faults(outcome: Outcome) -> set[Fault]:
    return {violation.fault for violation in outcome.violations}


async def test_no_blow_breaks_a_law(rehearsal_books: Database) -> None:
    broken: set[str] = set()
    for seed in SAMPLE:
        outcome = await rehearse(seed, rehearsal_books, broken_before=broken)
        assert not outcome.violations, f"nexus chaos --seed {seed} --runs 1 --trace"


async def test_a_settlement_forgotten_while_a_command_outlives_it_is_made_again(rehearsal_books: Database) -> None:
    # A modification is still out when the cancelled trade settles; then the books are put back to before both.
    outcome = await played(7694, rehearsal_books)
    assert outcome.cell == Cell(step=Step.MODIFY, blow=Blow.RESTORED)
    assert outcome.struck
    assert outcome.states == ("cancelled",)
    assert not outcome.violations


@pytest.mark.parametrize(
    "cell",
    [
        Cell(step=Step.SUBMIT, blow=Blow.FREEZE),
        Cell(step=Step.RESERVE, blow=Blow.DUPLICATE),
        Cell(step=Step.SEARCH, blow=Blow.KILL_WITHIN),
        Cell(step=Step.FEED, fault="stop_out"),
    ],
    ids=lambda cell: f"{cell.step}-{cell.befalls}",
)
async def test_a_seed_replays_to_the_last_step(
    cell: Cell, rehearsal_books: Database, rehearsal_admin_url: str
) -> None:
    seed = seed_of(cell)
    first = await played(seed, rehearsal_books)
    (again,) = await play(rehearsal_admin_url, [seed], traced=True)
    assert again == first
    assert len(first.trace) > 50


async def test_a_send_that_is_made_twice_is_found_out(
    rehearsal_books: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = sending._send

    def twice(*arguments: Any) -> Any:
        once(*arguments)
        return once(*arguments)

    monkeypatch.setattr(sending, "_send", twice)
    outcome = await played(seed_of(Cell(step=Step.SETTLE, blow=Blow.DELAY)), rehearsal_books)
    assert Fault.DUPLICATE in faults(outcome)


async def test_silence_taken_for_a_refusal_is_found_out(
    rehearsal_books: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Mt5Broker._outcome

    def hasty(*arguments: Any) -> Any:
        outcome = judge(*arguments)
        return Rejected(reason=outcome.reason, retcode=None) if isinstance(outcome, Unclear) else outcome

    monkeypatch.setattr(Mt5Broker, "_outcome", hasty)
    found: set[Fault] = set()
    for round_ in range(8):
        seed = seed_of(Cell(step=Step.SUBMIT, fault="answer_lost")) + round_ * len(CELLS)
        found |= faults(await played(seed, rehearsal_books))
    assert Fault.FALSE_VERDICT in found


async def test_a_feed_that_overlooks_fills_is_found_out(
    rehearsal_books: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overlook(*_: Any) -> None:
        """Book nothing."""

    monkeypatch.setattr(FeedBooks, "book", overlook)
    outcome = await played(seed_of(Cell(step=Step.ACCEPT, blow=Blow.DELAY)), rehearsal_books)
    assert Fault.UNBOOKED in faults(outcome)


async def test_books_that_differ_from_the_brokers_are_found_out(
    rehearsal_books: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = mapping.fill

    def dearer(*arguments: Any, **clock: Any) -> Any:
        fill = true(*arguments, **clock)
        return replace(fill, commission=fill.commission - 1)

    monkeypatch.setattr(mapping, "fill", dearer)
    outcome = await played(seed_of(Cell(step=Step.ACCEPT, blow=Blow.DELAY)), rehearsal_books)
    assert Fault.BOOKED_WRONG in faults(outcome)
