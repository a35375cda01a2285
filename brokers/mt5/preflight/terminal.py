"""The terminal as the pre-flight reaches it: single calls in a child that is killed at its deadline."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from brokers.mt5.clock import ServerClock
from brokers.mt5.probe import PROBE_MODULE
from brokers.mt5.sender import CallFailed, Sender, SenderLost
from brokers.mt5.session import ATTACH_TIMEOUT_MS
from brokers.mt5.terminals import Reply, TerminalKind


class TerminalServed(Exception):
    """Another process holds the terminal."""


class Hung(Exception):
    """The terminal gave no answer until the deadline, and the child that waited for it is dead."""


class Unanswered(Exception):
    """A call came back without an answer."""

    def __init__(self, call: str, code: int, message: str) -> None:
        super().__init__(f"{call}: {message} ({code})")
        self.code = code


class Refused(Exception):
    """Our own child did not make the call."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How to reach the terminal, which account it must show, and how long anything may take."""

    kind: TerminalKind
    path: str | None
    login: int
    server: str
    password: str | None = field(repr=False)
    lock_file: Path
    clock: ServerClock
    call_deadline: timedelta
    connect_deadline: timedelta


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The clocks of the pre-flight; `monotonic` in seconds."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    pause_seconds: float = 0.02

    async def pause(self) -> None:
        await asyncio.sleep(self.pause_seconds)


class ProbedTerminal:
    def __init__(self, way: Way) -> None:
        self._way = way
        self._sender: Sender | None = None

    @property
    def alive(self) -> bool:
        return self._sender is not None and self._sender.alive

    async def open(self) -> Reply:
        """A fresh child, attached to the terminal; what `initialize` returned."""
        await self.close()
        self._sender = await Sender.spawn(self._way.kind, self._way.lock_file, module=PROBE_MODULE)
        arguments = {
            "path": self._way.path,
            "login": self._way.login,
            "server": self._way.server,
            "timeout_ms": ATTACH_TIMEOUT_MS,
        }
        return await self._reply("open", arguments, deadline=self._way.connect_deadline)

    async def call(self, name: str, *positional: Any, **keywords: Any) -> Reply:
        arguments = {"positional": positional, "keywords": keywords}
        return await self._reply(name, arguments, deadline=self._way.call_deadline)

    async def ask(self, name: str, *positional: Any, **keywords: Any) -> Any:
        """The value; raises Unanswered where there is none."""
        reply = await self.call(name, *positional, **keywords)
        if reply.value is None or reply.value is False:
            raise Unanswered(name, reply.code, reply.message)
        return reply.value

    async def close(self) -> None:
        if self._sender is not None:
            await self._sender.end()
            self._sender = None

    async def _reply(self, operation: str, arguments: dict[str, Any], *, deadline: timedelta) -> Reply:
        assert self._sender is not None, "opened before it is asked"
        try:
            return Reply(**await self._sender.ask(operation, arguments, deadline=deadline))
        except SenderLost as lost:
            raise Hung(f"the terminal is of no more use: {lost}; the process that asked was ended") from lost
        except CallFailed as failure:
            match failure.fault:
                case "busy":
                    raise TerminalServed(str(failure)) from failure
                case "package":
                    raise Unanswered("import", failure.code, str(failure)) from failure
                case _:
                    raise Refused(f"{operation}: {failure}") from failure
