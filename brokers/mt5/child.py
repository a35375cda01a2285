"""The child that talks to the terminal: `python -m brokers.mt5.child KIND PARENT_PID LOCK_FILE`.

Calls of the package hold the interpreter without a time limit, so they happen where they can be killed. Light on
purpose: no database, no Temporal, nothing that would make a fresh child slow.

1. One command at a time, one answer to each; before an order may leave, a frame of its own says so.
2. The terminal's lock is held before the terminal is touched, and for as long as this process lives.
3. It dies with its parent.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from brokers.mt5.frames import Frames, encode
from brokers.mt5.operations import Operations
from brokers.mt5.terminal_lock import TerminalLock
from brokers.mt5.terminals import Terminal, TerminalKind, open_terminal
from brokers.mt5.timing import Timing

PR_SET_PDEATHSIG = 1
CHUNK = 1 << 20


class Pipe:
    """The child's end: commands come in, answers and announcements go out."""

    def __init__(self) -> None:
        self._commands = 0
        self._answers = os.dup(1)
        # Whatever a library prints must not fall between the answers.
        os.dup2(2, 1)
        # The package may start the terminal, which outlives us: holding this end it would hide our death.
        os.set_inheritable(self._commands, False)

    def serve(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Answer commands until the adapter closes its end."""
        frames = Frames()
        while data := os.read(self._commands, CHUNK):
            frames.feed(data)
            while (message := frames.take()) is not None:
                self.write(answer(message))

    def write(self, message: dict[str, Any]) -> None:
        data = memoryview(encode(message))
        while data:
            data = data[os.write(self._answers, data) :]


class Child:
    def __init__(self, kind: TerminalKind, lock_file: Path, pipe: Pipe) -> None:
        self._kind = kind
        self._lock_file = lock_file
        self._pipe = pipe
        self._operations = Operations(open_terminal=self._open, announce=self._announce, timing=Timing())

    def serve(self) -> None:
        self._pipe.serve(self._operations.answer)

    def _open(self, path: str | None, lease_number: int) -> Terminal:
        TerminalLock(self._lock_file, lease_number=lease_number).hold()
        return open_terminal(self._kind, path)

    def _announce(self, number: int) -> None:
        self._pipe.write({"number": number, "sending": True})


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; on Windows the parent's job object does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent ended before the child began")


def main() -> None:
    kind, parent, lock_file = sys.argv[1:]
    die_with(int(parent))
    pipe = Pipe()
    if kind == "simulated":
        # Imported while the child waits as a spare, not when it is needed.
        __import__("brokers.simulator.MetaTrader5")
    elif kind == "bridge":
        __import__("rpyc")
    Child(cast("TerminalKind", kind), Path(lock_file), pipe).serve()


if __name__ == "__main__":
    main()
