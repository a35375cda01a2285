"""Starts programs one after another, watches them all, and ends them in reverse order.

1. A program counts as started once its readiness was seen, within a bound.
2. The first program that ends by itself ends the whole, with one line that names it, its exit and its last words.
3. Nothing is left running, however the supervisor ends: programs end with it, by the kernel when it is killed.
"""

import asyncio
import os
import signal
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from stack.errors import StackError
from stack.logs import ChildLog, Foreground, follow
from stack.tether import tethered

POLL_SECONDS = 0.03
KILLED_SECONDS = 5.0

Ready = Callable[["Child"], Awaitable[bool]]


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run, how to know that it is ready, and how it wants to be ended."""

    name: str
    title: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    folder: Path
    ready: Ready
    ready_within_seconds: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_seconds: float = 15.0
    # Sent by the kernel when the supervisor is gone. Each program must stand a kill at any time anyhow.
    death_signal: signal.Signals = signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class Child:
    program: Program
    process: Process
    log: ChildLog
    ended: asyncio.Task[int] = field(compare=False)


def prints(text: str) -> Ready:
    """Ready once a line of its output holds the text."""

    async def seen(child: Child) -> bool:
        child.log.collect()
        return any(text in line for line in child.log.recent)

    return seen


class Supervisor:
    def __init__(self, *, logs: Path, foreground: Foreground) -> None:
        self._logs = logs
        self._foreground = foreground
        self._children: list[Child] = []
        self._shown: list[ChildLog] = []
        self._follower: asyncio.Task[None] | None = None
        self.killed = False

    async def __aenter__(self) -> Self:
        self._follower = asyncio.create_task(follow(self._shown, self._foreground))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            await self._end(child)
        if self._follower is not None:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower
        for log in self._shown:
            self._foreground.show(log)

    @property
    def pids(self) -> dict[str, int]:
        return {child.program.name: child.process.pid for child in self._children}

    async def start(self, program: Program) -> None:
        """Run the program and return once it is ready; StackError when it, or another, ends before that."""
        began_at = time.monotonic()
        child = await self._spawn(program)
        self._children.append(child)
        while not await program.ready(child):
            self._raise_if_one_ended()
            if time.monotonic() - began_at > program.ready_within_seconds:
                raise StackError(
                    f"{program.title} was not ready within {program.ready_within_seconds:.0f} s; "
                    f"its last line: {child.log.last_line}"
                )
            await asyncio.sleep(POLL_SECONDS)
        self._raise_if_one_ended()
        self._foreground.say(f"{program.title} is ready ({time.monotonic() - began_at:.1f} s)")

    async def run(self, program: Program) -> None:
        """Run the program to its end; StackError unless it exits with 0, in time."""
        child = await self._spawn(program)
        self._children.append(child)
        done, _ = await asyncio.wait({child.ended}, timeout=program.ready_within_seconds)
        if not done:
            raise StackError(f"{program.title} did not end within {program.ready_within_seconds:.0f} s")
        self._children.remove(child)
        if child.ended.result() != 0:
            raise _ended_by_itself(child)

    async def watch(self) -> None:
        """Wait until a program ends by itself, and raise StackError naming it."""
        await asyncio.wait({child.ended for child in self._children}, return_when=asyncio.FIRST_COMPLETED)
        self._raise_if_one_ended()

    async def kill_one(self, name: str) -> None:
        """End a program and all that it started, at once; it is then no longer watched."""
        for child in [child for child in self._children if child.program.name == name]:
            _signal_group(child, signal.SIGKILL)
            await child.ended
            self._children.remove(child)

    def forget_ended(self) -> list[Program]:
        """The programs that have ended by themselves; they are no longer watched."""
        ended = [child for child in self._children if child.ended.done()]
        self._children = [child for child in self._children if not child.ended.done()]
        return [child.program for child in ended]

    def kill(self) -> None:
        """End everything at once and without care."""
        self.killed = True
        for child in self._children:
            _signal_group(child, signal.SIGKILL)

    async def _spawn(self, program: Program) -> Child:
        log = ChildLog(name=program.name, path=self._logs / f"{program.name}.log")
        with log.open() as output:
            process = await asyncio.create_subprocess_exec(
                *tethered(program.command, death_signal=program.death_signal),
                cwd=program.folder,
                env=dict(program.environ),
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                # A Ctrl-C at the terminal is for the supervisor, which ends its children in order.
                start_new_session=True,
            )
        self._shown.append(log)
        return Child(program=program, process=process, log=log, ended=asyncio.create_task(process.wait()))

    async def _end(self, child: Child) -> None:
        began_at = time.monotonic()
        if not child.ended.done():
            # Servers complain about each other while they end; that belongs in their files.
            self._foreground.show(child.log)
            child.log.shown = False
            self._foreground.say(f"ending {child.program.title}")
            _signal(child, child.program.stop_signal)
            await asyncio.wait({child.ended}, timeout=child.program.stop_within_seconds)
            told = "did not end and is killed" if not child.ended.done() else "has ended"
            self._foreground.say(f"{child.program.title} {told} ({time.monotonic() - began_at:.1f} s)")
        # Its own children share its session, and none of them may outlive it.
        _signal_group(child, signal.SIGKILL)
        await asyncio.wait({child.ended}, timeout=KILLED_SECONDS)

    def _raise_if_one_ended(self) -> None:
        for child in self._children:
            if child.ended.done():
                raise _ended_by_itself(child)


def _ended_by_itself(child: Child) -> StackError:
    status = child.ended.result()
    child.log.collect()
    how = f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
    return StackError(f"{child.program.title} ended ({how}); its last line: {child.log.last_line}")


def _signal(child: Child, stop_signal: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended in this moment
        child.process.send_signal(stop_signal)


def _signal_group(child: Child, stop_signal: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # nobody of the group is left
        os.killpg(child.process.pid, stop_signal)
