"""The killable process at the terminal, inside this one: the same operations, pinned and fenced as the real child.

1. One child at a time holds a machine's lock on the terminal; a newer lease kills the holder, an older is refused.
2. A child that does not answer by its deadline is killed, and what it announced before still counts.
3. Between any two calls of the terminal its worker, and it with it, may be killed.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from brokers.mt5.operations import Operations
from brokers.mt5.process import Answer, Verdict
from brokers.mt5.sender import SenderLost, content
from brokers.mt5.session import Pin
from brokers.mt5.terminal_lock import TerminalBusy
from brokers.mt5.terminals import ImportedTerminal, Reply, Terminal
from brokers.mt5.turns import Lane
from brokers.simulator import MetaTrader5
from brokers.simulator.client import acting
from domain.errors import BrokerUnavailable
from stack.chaos.baton import Baton, Killed, Process
from stack.chaos.broker_side import LOGIN, SERVER_NAME, BrokerSide, ChildDied, ChildHung
from stack.chaos.clock import VirtualClock

CALL_DEADLINE = timedelta(seconds=5)
# A call of the terminal takes a moment, too.
CALL_SECONDS = 0.0005


@dataclass(kw_only=True)
class Machine:
    """What children of one machine share: the lock on the terminal."""

    name: str
    holder: "Child | None" = None

    def hold(self, child: "Child") -> None:
        self.prove_free(lease_number=child.lease_number)
        self.holder = child

    def prove_free(self, *, lease_number: int) -> None:
        holder = self.holder
        if holder is None or not holder.alive:
            return
        if holder.lease_number > lease_number:
            raise TerminalBusy(f"{holder} serves the terminal under the newer lease {holder.lease_number}")
        holder.kill()


@dataclass(kw_only=True)
class Hooks:
    """What a plan does to single calls of the terminal: raise before or after one, or change its reply."""

    before: Callable[[str], None] = lambda _: None
    after: Callable[[str, Reply], Reply] = lambda _, reply: reply


class Child:
    def __init__(self, side: BrokerSide, machine: Machine, clock: VirtualClock, hooks: Hooks, lease: int) -> None:
        self._side = side
        self._machine = machine
        self._clock = clock
        self._hooks = hooks
        self._client = side.session()
        self._operations = Operations(open_terminal=self._open, announce=self._announce, timing=clock.timing())
        self._number = 0
        self.lease_number = lease
        self.alive = True
        self.announced = False

    def kill(self) -> None:
        self.alive = False
        with acting(self._client):
            MetaTrader5.shutdown()

    def ask(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Raises CallFailed, or SenderLost once the child is dead."""
        self.announced = False
        if not self.alive:
            raise self._lost(f"{operation}: the pipe is closed")
        self._number += 1
        message = {"number": self._number, "operation": operation, "arguments": arguments}
        self._side.deadline_at = self._clock.seconds() + CALL_DEADLINE.total_seconds()
        try:
            return content(self._operations.answer(message))
        except ChildHung:
            self._clock.advance(self._side.deadline_at - self._clock.seconds())
            raise self._lost(f"{operation}: no answer within {CALL_DEADLINE.total_seconds()} s") from None
        except ChildDied as died:
            raise self._lost(f"{operation}: the terminal's process is of no more use: {died}") from None
        except Killed:
            self.kill()
            raise
        finally:
            self._side.deadline_at = float("inf")

    def call(self, run: Callable[[], Reply], name: str) -> Reply:
        self._hooks.before(name)
        self._clock.advance(CALL_SECONDS)
        with acting(self._client):
            reply = run()
        if self._clock.seconds() >= self._side.deadline_at:
            raise ChildHung
        return self._hooks.after(name, reply)

    def fence(self, lease_number: int) -> None:
        self._client.fence = lease_number

    def _open(self, _path: str | None, _lease_number: int) -> Terminal:
        self._machine.hold(self)
        return ChildTerminal(self)

    def _announce(self, _number: int) -> None:
        self.announced = True

    def _lost(self, reason: str) -> SenderLost:
        self.kill()
        return SenderLost(reason, announced=self.announced, ended_at=self._clock.now())


class ChildTerminal:
    """The package as the child calls it."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._package = ImportedTerminal(MetaTrader5, "127.0.0.1:1", None)

    def call(self, name: str, *arguments: Any, **keywords: Any) -> Reply:
        return self._child.call(lambda: self._package.call(name, *arguments, **keywords), name)

    def initialize(self, *, timeout_ms: int) -> Reply:
        return self._child.call(lambda: self._package.initialize(timeout_ms=timeout_ms), "initialize")

    def fence(self, lease_number: int) -> None:
        self._child.fence(lease_number)


@dataclass(kw_only=True)
class ChildWay:
    """The adapter's way to the terminal; stands in for `TerminalProcess`."""

    side: BrokerSide
    machine: Machine
    clock: VirtualClock
    baton: Baton
    process: Process
    hooks: Hooks
    lease_number: int
    pin: Pin = field(default_factory=lambda: Pin(login=LOGIN, server=SERVER_NAME))
    child: Child | None = None
    busy: bool = False
    connected: bool = False

    @property
    def pid(self) -> int | None:
        return None

    async def call(
        self, operation: str, arguments: dict[str, Any], *, lane: Lane, end_when: Verdict | None = None
    ) -> Answer:
        await self._enter(operation, lane)
        try:
            child = self._ready()
            answer = child.ask(operation, arguments)
            ended_at = None
            if end_when is not None and end_when(answer):
                child.kill()
                ended_at = self.clock.now()
        finally:
            self.busy = False
        await self.baton.point(f"{operation} answered")
        return Answer(content=answer, ended_at=ended_at)

    async def retire(self) -> datetime:
        await self._enter("retire", Lane.STOP)
        try:
            if self.child is not None:
                self.child.kill()
                self.child = None
            self.machine.prove_free(lease_number=self.lease_number)
            return self.clock.now()
        except TerminalBusy as busy:
            raise BrokerUnavailable(str(busy)) from busy
        finally:
            self.busy = False

    async def close(self) -> None:
        if self.child is not None:
            self.child.kill()

    async def _enter(self, operation: str, lane: Lane) -> None:
        await self.baton.point(f"before {operation}")
        while self.busy:
            await self.baton.point(f"{operation} waits in lane {lane.name.lower()}", lambda: not self.busy)
        self.busy = True

    def _ready(self) -> Child:
        if self.child is None or not self.child.alive or not self.connected:
            self._attach()
        assert self.child is not None, "attaching leaves a child or raises"
        return self.child

    def _attach(self) -> None:
        self.connected = False
        if self.child is None or not self.child.alive:
            self.child = Child(self.side, self.machine, self.clock, self.hooks, self.lease_number)
        arguments = {"pin": asdict(self.pin), "password": None, "path": None, "lease_number": self.lease_number}
        try:
            found = self.child.ask("connect", arguments)
        except SenderLost as lost:
            raise BrokerUnavailable(str(lost)) from lost
        account = found["account"]
        self.pin = replace(self.pin, trade_mode=account["trade_mode"], margin_mode=account["margin_mode"])
        self.connected = True
