"""The seeded order of turns and the virtual clock: what every replay rests on."""

from datetime import UTC, datetime

import pytest

from stack.chaos.baton import Baton, Process
from stack.chaos.clock import VirtualClock

BEGINNING = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(BEGINNING)


def test_what_is_due_happens_at_its_own_instant_and_in_order(clock: VirtualClock) -> None:
    seen: list[tuple[str, float]] = []
    start = clock.seconds()
    clock.call_later(2, lambda: seen.append(("second", clock.seconds() - start)))
    clock.call_later(1, lambda: seen.append(("first", clock.seconds() - start)))
    clock.call_later(9, lambda: seen.append(("never", 0)))
    clock.advance(5)
    assert seen == [("first", 1), ("second", 2)]
    assert clock.seconds() - start == 5


def test_what_was_cancelled_does_not_happen(clock: VirtualClock) -> None:
    clock.call_later(1, lambda: pytest.fail("it was cancelled")).cancel()
    clock.advance(2)
    assert not clock.advance_to_next()


async def test_one_turn_runs_at_a_time_and_stops_at_its_points(clock: VirtualClock) -> None:
    baton, seen = Baton(clock), []

    async def work(name: str) -> None:
        seen.append(f"{name} 1")
        await baton.point("middle")
        seen.append(f"{name} 2")

    process = Process(name="p")
    first = baton.start("step", process, lambda: work("a"))
    second = baton.start("step", process, lambda: work("b"))
    for turn in (first, second, first, second):
        await baton.give(turn)
    assert seen == ["a 1", "b 1", "a 2", "b 2"]
    assert first.done
    assert second.done


async def test_nothing_of_a_killed_process_runs_on(clock: VirtualClock) -> None:
    baton, process, seen = Baton(clock), Process(name="p"), []

    async def work() -> None:
        await baton.point("before the end")
        seen.append("the end")

    turn = baton.start("step", process, work)
    await baton.give(turn)
    await baton.kill(process)
    assert turn.done
    assert not seen
    assert not baton.defects


async def test_a_frozen_process_waits_and_goes_on_when_woken(clock: VirtualClock) -> None:
    baton, process, seen = Baton(clock), Process(name="p"), []

    async def work() -> None:
        seen.append("ran")

    turn = baton.start("step", process, work)
    process.frozen = True
    assert baton.runnable() == []
    process.frozen = False
    assert baton.runnable() == [turn]
    await baton.give(turn)
    assert seen == ["ran"]


async def test_a_turn_that_ends_by_a_mistake_is_a_defect(clock: VirtualClock) -> None:
    baton = Baton(clock)

    async def work() -> None:
        raise KeyError("gone")

    await baton.give(baton.start("step", Process(name="p"), work))
    assert baton.defects == ["step of p ended by KeyError: 'gone'"]
