"""Tasks that take turns: one runs at a time, from one point to the next, so that an order of turns is a whole run.

1. A point lies between transactions and between calls of the terminal, never inside one.
2. A killed process ends at the points where its tasks are, and nothing of it runs afterwards.
3. A frozen process keeps its tasks where they are, and goes on with them when it is let go.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from stack.chaos.clock import VirtualClock

# What lies between two points takes a moment, so that no two things happen at one instant.
STEP_SECONDS = 0.001


class Killed(BaseException):
    """The process that ran this is gone; nothing may catch it but the one who takes the body away."""


@dataclass(eq=False, kw_only=True)
class Process:
    """Something that can be killed or frozen as a whole."""

    name: str
    alive: bool = True
    frozen: bool = False


@dataclass(eq=False, kw_only=True)
class Turn:
    """One task of a process; `step` names what it does, `at` the point where it waits."""

    step: str
    process: Process
    at: str = ""
    ready: Callable[[], bool] = field(default=lambda: True)
    gate: asyncio.Future[None] | None = None
    task: asyncio.Task[None] | None = None

    @property
    def runnable(self) -> bool:
        return self.gate is not None and not self.process.frozen and self.ready()

    @property
    def done(self) -> bool:
        return self.task is not None and self.task.done()


class Baton:
    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._turns: list[Turn] = []
        self._reached: Callable[[Turn], None] = lambda _: None
        self._parked = asyncio.Event()
        self.current: Turn | None = None
        self.defects: list[str] = []

    def watch(self, reached: Callable[[Turn], None]) -> None:
        """Be told of each point as it is reached."""
        self._reached = reached

    def start(self, step: str, process: Process, work: Callable[[], Coroutine[Any, Any, object]]) -> Turn:
        """Have `work` run by turns; it begins when its first turn comes."""
        turn = Turn(step=step, process=process)
        turn.gate = gate = asyncio.get_running_loop().create_future()
        turn.at = "begin"
        turn.task = asyncio.create_task(self._run(turn, gate, work))
        self._turns.append(turn)
        self._reached(turn)
        return turn

    async def point(self, at: str, ready: Callable[[], bool] = lambda: True) -> None:
        """Wait for the next turn; outside of any turn, where nothing else runs, go on at once."""
        turn = self.current
        if turn is None:
            return
        turn.at, turn.ready = at, ready
        turn.gate = asyncio.get_running_loop().create_future()
        self._reached(turn)
        self._parked.set()
        await turn.gate

    async def sleep(self, at: str, seconds: float) -> None:
        until = self._clock.seconds() + seconds
        self._clock.call_later(seconds, lambda: None)
        await self.point(at, lambda: self._clock.seconds() >= until)

    def runnable(self) -> list[Turn]:
        return [turn for turn in self._turns if turn.runnable]

    async def give(self, turn: Turn) -> None:
        """Let the turn go on to its next point or its end."""
        gate, turn.gate = turn.gate, None
        assert gate is not None, "a turn that can go on waits at a gate"
        await self._go(turn, lambda: gate.set_result(None))
        self._clock.advance(STEP_SECONDS)

    async def stop(self, turn: Turn, error: BaseException) -> None:
        """End a waiting turn by an error at the point where it is."""
        gate, turn.gate = turn.gate, None
        if gate is not None:
            await self._go(turn, lambda: gate.set_exception(error))

    async def kill(self, process: Process) -> None:
        """End every task of the process where it is."""
        process.alive = False
        for turn in [turn for turn in self._turns if turn.process is process]:
            while not turn.done:
                await self.stop(turn, Killed())

    async def _go(self, turn: Turn, resume: Callable[[], None]) -> None:
        assert turn.task is not None, "a started turn has a task"
        outer, self.current = self.current, turn
        self._parked.clear()
        resume()
        parked = asyncio.create_task(self._parked.wait())
        await asyncio.wait({turn.task, parked}, return_when=asyncio.FIRST_COMPLETED)
        parked.cancel()
        self.current = outer
        if turn.done:
            self._turns.remove(turn)

    async def _run(
        self, turn: Turn, gate: asyncio.Future[None], work: Callable[[], Coroutine[Any, Any, object]]
    ) -> None:
        try:
            await gate
            await work()
        except Killed:
            turn.process.alive = False
        except Exception as error:  # noqa: BLE001 - the run's verdict names it
            self.defects.append(f"{turn.step} of {turn.process.name} ended by {type(error).__name__}: {error}")
