"""The trap: what a restart does not remember. Old positions, half-done steps, a second run of the same step."""

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.orders import OrderState
from stack.chaos.cells import CELLS, Blow, CallBlow, Cell, Step
from stack.chaos.rehearsal import rehearse
from stack.scratch import Database
from tests.activities.broker import take_lease
from tests.activities.feeding import ReadBroker, make_feed
from tests.db.books import Books
from tests.factories import NOW, make_exit, make_fill, make_position

ROUNDS = 2


async def play(books: Database, cell: Cell, *, rounds: int = ROUNDS) -> list[tuple[str, ...]]:
    """The states in which the cell's trades end; fails on any breach, naming the seed that shows it again."""
    states = []
    for round_ in range(rounds):
        seed = CELLS.index(cell) + (40 + round_) * len(CELLS)
        outcome = await rehearse(seed, books, broken_before=frozenset())
        assert not outcome.violations, f"nexus chaos --seed {seed} --runs 1 --trace"
        states.append(outcome.states)
    return states


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.DECIDE], ids=str)
async def test_books_that_go_away_in_mid_workflow_leave_nothing_stuck(
    rehearsal_books: Database, step: Step
) -> None:
    for blow in (Blow.BOOKS_AWAY, Blow.COMMIT_UNKNOWN):
        for states in await play(rehearsal_books, Cell(step=step, blow=blow), rounds=1):
            assert OrderState.PENDING not in states


async def test_a_worker_killed_after_order_send_and_before_recording_sends_no_second_order(
    rehearsal_books: Database,
) -> None:
    for blow in (CallBlow.KILL_AFTER_CALL, CallBlow.KILL_BEFORE_CALL, Blow.KILL_WITHIN, Blow.KILL_AFTER):
        await play(rehearsal_books, Cell(step=Step.SUBMIT, blow=blow))


async def test_an_old_attempt_that_still_runs_beside_the_new_one_sends_no_second_order(
    rehearsal_books: Database,
) -> None:
    for step in (Step.SUBMIT, Step.CLOSE, Step.SEARCH, Step.CANCEL):
        await play(rehearsal_books, Cell(step=step, blow=Blow.DUPLICATE))


async def test_a_position_older_than_the_feeds_window_survives_a_restart(books: Books) -> None:
    """Its deals are no longer read; it is still there, still its opener's, and nothing is traded against it."""
    opener = await books.reserved()
    old = NOW - timedelta(days=30)
    await books.book(make_fill(magic=opener.progress.magic, executed_at=old))
    await books.settle(await books.trade(opener.id))
    position = replace(make_position(), opened_at=old, updated_at=old)
    broker = ReadBroker(positions=(position,), records=())
    before = await books.trade(opener.id)

    for _ in range(2):
        # Each time a new worker's feed, with no memory of the last.
        await make_feed(books, await take_lease(books), broker).read_now()

    assert await books.trade(opener.id) == before
    shown = await books.rows("SELECT position_id, volume FROM broker_positions")
    assert shown == [{"position_id": position.position_id, "volume": position.volume}]
    assert await books.scalar("SELECT count(*) FROM fills") == 1
    assert broker.sends == []
    await books.book(make_exit(magic=0))
    (line,) = await books.rows("SELECT trade_id FROM fill_allocations WHERE role = 'close'")
    assert line["trade_id"] == opener.id
