"""The child of the pre-flight: `python -m brokers.mt5.probe KIND PARENT_PID LOCK_FILE`.

It makes single calls of the package, as they are asked for, and tells what each returned with its `last_error`.

1. The terminal's lock is held before the terminal is touched. The lease number zero is older than any, so this
   process never ends another to get it.
2. `order_send` is called only while the terminal shows the very account it was opened for, and that as a demo.
3. It dies with its parent.
"""

import sys
import traceback
from pathlib import Path
from typing import Any, cast

from brokers.mt5.child import Pipe, die_with
from brokers.mt5.constants import AccountMode
from brokers.mt5.terminal_lock import TerminalBusy, TerminalLock
from brokers.mt5.terminals import Reply, Terminal, TerminalFault, TerminalKind, open_terminal

PROBE_MODULE = "brokers.mt5.probe"
NO_LEASE = 0

CALLS = frozenset(
    {
        "account_info",
        "history_deals_get",
        "history_deals_total",
        "history_orders_get",
        "login",
        "order_check",
        "orders_get",
        "positions_get",
        "shutdown",
        "symbol_info",
        "symbol_info_tick",
        "symbol_select",
        "symbols_get",
        "terminal_info",
        "version",
    }
)


class NotDemo(Exception):
    """The terminal does not show the configured account as a demo, so nothing is sent."""


class Probe:
    def __init__(self, kind: TerminalKind, lock_file: Path) -> None:
        self._kind = kind
        self._lock = TerminalLock(lock_file, lease_number=NO_LEASE)
        self._terminal: Terminal | None = None
        self._account: tuple[int, str] | None = None

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        number = message["number"]
        try:
            reply = self._run(message["operation"], message["arguments"])
        except TerminalBusy as busy:
            return {"number": number, "fault": "busy", "code": 0, "message": str(busy)}
        except NotDemo as refusal:
            return {"number": number, "fault": "not_demo", "code": 0, "message": str(refusal)}
        except TerminalFault as fault:
            return {"number": number, "answer": {"value": None, "code": fault.code, "message": str(fault)}}
        except ImportError as missing:
            return {"number": number, "fault": "package", "code": 0, "message": str(missing)}
        except Exception:  # noqa: BLE001  # the parent reports it; a child that died here would hide the reason
            return {"number": number, "fault": "defect", "code": 0, "message": traceback.format_exc()}
        return {"number": number, "answer": reply._asdict()}

    def _run(self, operation: str, arguments: dict[str, Any]) -> Reply:
        if operation == "open":
            return self._open(**arguments)
        assert self._terminal is not None, "the pre-flight opens a child before it asks anything of it"
        name, positional, keywords = operation, arguments["positional"], arguments["keywords"]
        if name == "order_send":
            self._demand_demo()
        elif name not in CALLS:
            raise ValueError(f"{name} is no call of the pre-flight")
        return self._terminal.call(name, *positional, **keywords)

    def _open(self, *, path: str | None, login: int, server: str, timeout_ms: int) -> Reply:
        self._lock.hold()
        self._account = (login, server)
        self._terminal = open_terminal(self._kind, path)
        return self._terminal.initialize(timeout_ms=timeout_ms)

    def _demand_demo(self) -> None:
        assert self._terminal is not None, "asked by `_run` alone"
        shown = self._terminal.call("account_info").value
        if shown is None or (shown["login"], shown["server"]) != self._account:
            raise NotDemo("the terminal does not show the configured account")
        if shown["trade_mode"] != AccountMode.DEMO:
            raise NotDemo(f"account {shown['login']} is no demo account")


def main() -> None:
    kind, parent, lock_file = sys.argv[1:]
    die_with(int(parent))
    Pipe().serve(Probe(cast("TerminalKind", kind), Path(lock_file)).answer)


if __name__ == "__main__":
    main()
