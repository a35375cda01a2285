"""A child's attachment to its terminal, pinned to one account.

1. Nothing is read or sent before the terminal was found to show the configured account, in its known modes.
2. A failed question raises; an empty list always means "none".
3. When the package has lost its terminal it is shut down, attached anew, and checked as on the first day.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from brokers.mt5.history import History
from brokers.mt5.retcodes import IPC_LOST
from brokers.mt5.terminals import Terminal, TerminalFault
from brokers.mt5.timing import Timing

T = TypeVar("T")
Struct = dict[str, Any]

# Beside the fixed 60 seconds that the package grants a terminal it starts itself.
ATTACH_TIMEOUT_MS = 10_000


class AccountMismatch(Exception):
    """The terminal shows another account than the configured one."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """The account that the terminal must show; the modes are None until they were seen once."""

    login: int
    server: str
    trade_mode: int | None = None
    margin_mode: int | None = None


@dataclass(kw_only=True)
class Session:
    terminal: Terminal
    pin: Pin
    password: str | None = field(repr=False)
    lease_number: int
    timing: Timing = field(default_factory=Timing)
    history: History = field(default_factory=History)
    selected: set[str] = field(default_factory=set)
    # Magic numbers under which this child sent something that was not refused.
    sent: set[int] = field(default_factory=set)

    def attach(self) -> Struct:
        """The account and the terminal as found; raises TerminalFault or AccountMismatch."""
        self.history.forget()
        self.selected.clear()
        self.terminal.fence(self.lease_number)
        self._demand("initialize", self.terminal.initialize(timeout_ms=ATTACH_TIMEOUT_MS))
        account = self.ask("account_info")
        # A login switches the account of the whole terminal, so it is not repeated without need.
        if (account["login"], account["server"]) != (self.pin.login, self.pin.server):
            self._log_in(account)
            account = self.ask("account_info")
        self.check(account)
        self.pin = replace(self.pin, trade_mode=account["trade_mode"], margin_mode=account["margin_mode"])
        return {"account": account, "terminal": self.ask("terminal_info")}

    def guarded(self, operation: Callable[[], T]) -> T:
        """Run something harmless to repeat, once more after a new attachment if the terminal was lost."""
        try:
            return operation()
        except TerminalFault as fault:
            if fault.code > IPC_LOST:
                raise
        self.terminal.call("shutdown")
        self.attach()
        return operation()

    def ask(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        return self._demand(name, self.terminal.call(name, *arguments, **keywords))

    def account(self) -> Struct:
        account: Struct = self.ask("account_info")
        self.check(account)
        return account

    def check(self, account: Struct) -> None:
        """Raises AccountMismatch unless this is the account that the session is pinned to."""
        expected = {
            "login": self.pin.login,
            "server": self.pin.server,
            "trade_mode": self.pin.trade_mode,
            "margin_mode": self.pin.margin_mode,
        }
        for name, value in expected.items():
            if value is not None and account[name] != value:
                # What was read since the last look may be the other account's.
                self.history.forget()
                raise AccountMismatch(f"the terminal shows {name} {account[name]}, expected is {value}")

    def symbol(self, name: str) -> Struct:
        self.select(name)
        symbol: Struct = self.ask("symbol_info", name)
        return symbol

    def tick(self, name: str) -> Struct:
        self.select(name)
        tick: Struct = self.ask("symbol_info_tick", name)
        return tick

    def select(self, name: str) -> None:
        """Prices flow only for symbols in Market Watch."""
        if name not in self.selected:
            self.ask("symbol_select", name, True)
            self.selected.add(name)

    def _log_in(self, shown: Struct) -> None:
        secret = {} if self.password is None else {"password": self.password}
        reply = self.terminal.call(
            "login", self.pin.login, server=self.pin.server, timeout=ATTACH_TIMEOUT_MS, **secret
        )
        if not reply.value and reply.code > IPC_LOST:
            raise AccountMismatch(
                f"the terminal shows account {shown['login']} at {shown['server']} and does not log in to "
                f"{self.pin.login} at {self.pin.server}: {reply.message}"
            )
        self._demand("login", reply)

    @staticmethod
    def _demand(name: str, reply: Any) -> Any:
        if reply.value is None or reply.value is False:
            raise TerminalFault(name, reply.code, reply.message)
        return reply.value
