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
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from brokers.mt5 import calls, commands, sending
from brokers.mt5.frames import Frames, encode
from brokers.mt5.session import AccountMismatch, Pin, Session
from brokers.mt5.terminal_lock import TerminalBusy, TerminalLock
from brokers.mt5.terminals import Terminal, TerminalFault, TerminalKind, open_terminal

PR_SET_PDEATHSIG = 1
CHUNK = 1 << 20

READS: dict[str, Callable[..., dict[str, Any]]] = {
    "account": calls.account,
    "instruments": calls.instruments,
    "market": calls.market,
    "deals": calls.deals,
    "find": calls.find,
}
COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "cancel": commands.cancel,
    "modify_order": commands.modify_order,
    "modify_position": commands.modify_position,
}


class Child:
    def __init__(self, kind: TerminalKind, lock_file: Path, answers: int) -> None:
        self._kind = kind
        self._lock_file = lock_file
        self._answers = answers
        self._terminal: Terminal | None = None
        self._session: Session | None = None

    def serve(self, commands_from: int) -> None:
        """Answer commands until the adapter closes its end."""
        frames = Frames()
        while data := os.read(commands_from, CHUNK):
            frames.feed(data)
            while (message := frames.take()) is not None:
                self._write(self._answer(message))

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        number = message["number"]
        try:
            answer = self._run(number, message["operation"], message["arguments"])
        except TerminalFault as fault:
            return {"number": number, "fault": "terminal", "code": fault.code, "message": str(fault)}
        except ImportError as missing:
            return {"number": number, "fault": "terminal", "code": 0, "message": f"no terminal package: {missing}"}
        except TerminalBusy as busy:
            return {"number": number, "fault": "terminal", "code": 0, "message": str(busy)}
        except AccountMismatch as mismatch:
            return {"number": number, "fault": "mismatch", "code": 0, "message": str(mismatch)}
        except Exception:  # noqa: BLE001  # the adapter reports it; a child that died here would hide the reason
            return {"number": number, "fault": "defect", "code": 0, "message": traceback.format_exc()}
        return {"number": number, "answer": answer}

    def _run(self, number: int, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if operation == "connect":
            return self._connect(**arguments)
        session = self._session
        assert session is not None, "the adapter connects a child before it asks anything of it"
        if operation == "submit":
            submission = sending.Submission(**arguments)
            return sending.submit(session, submission, lambda: self._write({"number": number, "sending": True}))
        if operation in COMMANDS:
            return COMMANDS[operation](session, **arguments)
        return session.guarded(lambda: READS[operation](session, **arguments))

    def _connect(
        self, *, pin: dict[str, Any], password: str | None, path: str | None, lease_number: int
    ) -> dict[str, Any]:
        if self._terminal is None:
            TerminalLock(self._lock_file, lease_number=lease_number).hold()
            self._terminal = open_terminal(self._kind, path)
        session = Session(terminal=self._terminal, pin=Pin(**pin), password=password, lease_number=lease_number)
        found = session.attach()
        self._session = session
        return found

    def _write(self, message: dict[str, Any]) -> None:
        data = memoryview(encode(message))
        while data:
            data = data[os.write(self._answers, data) :]


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; elsewhere the closed pipe ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent ended before the child began")


def main() -> None:
    kind, parent, lock_file = sys.argv[1:]
    die_with(int(parent))
    answers = os.dup(1)
    # Whatever a library prints must not fall between the answers.
    os.dup2(2, 1)
    if kind == "simulated":
        # Imported while the child waits as a spare, not when it is needed.
        __import__("brokers.simulator.MetaTrader5")
    elif kind == "bridge":
        __import__("rpyc")
    Child(cast("TerminalKind", kind), Path(lock_file), answers).serve(0)


if __name__ == "__main__":
    main()
