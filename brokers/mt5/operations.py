"""What the process that holds the terminal can be asked: one message in, one answer out, and never an exception.

Before an order may leave, `announce` is called with the number of the message; an order that was not announced has
not been sent.
"""

import traceback
from collections.abc import Callable
from typing import Any

from brokers.mt5 import calls, commands, sending
from brokers.mt5.session import AccountMismatch, Pin, Session
from brokers.mt5.terminal_lock import TerminalBusy
from brokers.mt5.terminals import Terminal, TerminalFault
from brokers.mt5.timing import Timing

READS: dict[str, Callable[..., dict[str, Any]]] = {
    "account": calls.account,
    "instruments": calls.instruments,
    "market": calls.market,
    "deals": calls.deals,
    "position_deals": calls.position_deals,
    "find": calls.find,
}
COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "cancel": commands.cancel,
    "modify_order": commands.modify_order,
    "modify_position": commands.modify_position,
}


class Operations:
    """`open_terminal` is called once, on the first connect, with the terminal's path and the lease number.

    It leaves the terminal's lock held.
    """

    def __init__(
        self,
        *,
        open_terminal: Callable[[str | None, int], Terminal],
        announce: Callable[[int], None],
        timing: Timing,
    ) -> None:
        self._open_terminal = open_terminal
        self._announce = announce
        self._timing = timing
        self._terminal: Terminal | None = None
        self._session: Session | None = None

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
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
            return sending.submit(session, submission, lambda: self._announce(number))
        if operation in COMMANDS:
            return COMMANDS[operation](session, **arguments)
        return session.guarded(lambda: READS[operation](session, **arguments))

    def _connect(
        self, *, pin: dict[str, Any], password: str | None, path: str | None, lease_number: int
    ) -> dict[str, Any]:
        if self._terminal is None:
            self._terminal = self._open_terminal(path, lease_number)
        session = Session(
            terminal=self._terminal,
            pin=Pin(**pin),
            password=password,
            lease_number=lease_number,
            timing=self._timing,
        )
        found = session.attach()
        self._session = session
        return found
