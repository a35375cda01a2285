"""One child process and its pipe, from the adapter's side."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from brokers.mt5.frames import Frames, encode
from brokers.mt5.job import die_together
from brokers.mt5.terminal_lock import CHILD_MODULE

CHECKOUT = Path(__file__).resolve().parents[2]
CHUNK = 1 << 20
# Windows knows no sessions of this kind; there a group of its own is what an interrupt does not reach.
if sys.platform == "win32":
    NEW_PROCESS_GROUP = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    NEW_PROCESS_GROUP = 0
# A killed process is gone at once, unless the kernel itself is stuck in a call for it.
REAP_SECONDS = 10.0


class SenderLost(Exception):
    """The child was ended without an answer.

    `announced` says whether an order may have left: a child says so before it sends. `ended_at` is when the child
    was proven dead, None for one that was killed and does not end.
    """

    def __init__(self, reason: str, *, announced: bool, ended_at: datetime | None) -> None:
        super().__init__(reason)
        self.announced = announced
        self.ended_at = ended_at


class CallFailed(Exception):
    """The child answered that it could not do what was asked; `fault` is terminal, mismatch, or defect."""

    def __init__(self, fault: str, code: int, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.code = code


def content(message: dict[str, Any]) -> dict[str, Any]:
    """What an answer holds; raises CallFailed for one that says why there is none."""
    if "fault" in message:
        raise CallFailed(message["fault"], message["code"], message["message"])
    answer: dict[str, Any] = message["answer"]
    return answer


class Sender:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None, "the child is started with pipes"
        assert process.stdout is not None, "the child is started with pipes"
        self._process = process
        self._commands = process.stdin
        self._answers = process.stdout
        self._frames = Frames()
        self._number = 0
        self._announced = False
        self._asking = asyncio.Lock()

    @classmethod
    async def spawn(cls, terminal: str, lock_file: Path, *, module: str = CHILD_MODULE) -> "Sender":
        paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            terminal,
            str(os.getpid()),
            str(lock_file),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # An interrupt typed at the keyboard, or sent by the wrapper of a Windows service, is for the worker,
            # which lets a send in flight end.
            start_new_session=True,
            creationflags=NEW_PROCESS_GROUP,
        )
        die_together(process.pid)
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, operation: str, arguments: dict[str, Any], *, deadline: timedelta) -> dict[str, Any]:
        """Raises CallFailed for an answer that is none, and SenderLost once the child is killed and reaped.

        After a deadline the child is always killed: its late answer would be taken for the next call's.
        """
        async with self._asking:
            self._number += 1
            self._announced = False
            try:
                async with asyncio.timeout(deadline.total_seconds()):
                    return await self._exchange(operation, arguments)
            except TimeoutError:
                reason = f"{operation}: no answer within {deadline.total_seconds()} s"
            except (EOFError, OSError, ValueError) as lost:
                reason = f"{operation}: the terminal's process is of no more use: {lost}"
            except asyncio.CancelledError:
                self.kill()
                raise
            ended_at = await self._end()
            # Without its end, not all that it wrote can have been read.
            raise SenderLost(reason, announced=self._announced or ended_at is None, ended_at=ended_at)

    def kill(self) -> None:
        """Whoever waits for an answer learns of it by the broken pipe."""
        if self.alive:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def end(self) -> datetime | None:
        """Kill and reap; the instant when the process was proven dead, None if it does not end."""
        self.kill()
        async with self._asking:
            return await self._end()

    async def _exchange(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self._commands.write(encode({"number": self._number, "operation": operation, "arguments": arguments}))
        while True:
            message = self._take()
            if message is not None:
                break
            data = await self._answers.read(CHUNK)
            if not data:
                raise EOFError("the pipe is closed")
            self._frames.feed(data)
        return content(message)

    def _take(self) -> dict[str, Any] | None:
        """The next answer; announcements on the way are noted."""
        while (message := self._frames.take()) is not None:
            if message["number"] != self._number:
                raise ValueError(f"an answer to command {message['number']} after command {self._number}")
            if "sending" not in message:
                return message
            self._announced = True
        return None

    async def _end(self) -> datetime | None:
        self.kill()
        self._commands.close()
        try:
            async with asyncio.timeout(REAP_SECONDS):
                # What it wrote before it died still counts: an order may have been announced.
                self._frames.feed(await self._answers.read())
                await self._process.wait()
        except TimeoutError:
            return None
        with suppress(ValueError):
            self._take()
        return datetime.now(UTC)
