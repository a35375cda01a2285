"""The killable way to one terminal: one child at a time holds it, and a spare waits to take its place.

1. One call at a time, the most urgent first; every call has a deadline.
2. A child that missed its deadline is killed and reaped before anything else reaches the terminal.
3. A caller that goes away does not break the call: it runs to its end or deadline, and its answer is dropped.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from brokers.mt5.sender import Sender, SenderLost
from brokers.mt5.session import Pin
from brokers.mt5.terminal_lock import TerminalBusy, TerminalLock
from brokers.mt5.terminals import TerminalKind
from brokers.mt5.turns import Lane, Turns
from domain.errors import BrokerUnavailable

log = logging.getLogger(__name__)

# A send that waited this long for a read has it killed; the spare takes over within milliseconds.
READ_PATIENCE_SECONDS = 0.2

Verdict = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`ended_at` is when the child that answered was proven dead, None while it lives on."""

    content: dict[str, Any]
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Link:
    """How to reach a terminal and which account it must show."""

    kind: TerminalKind
    path: str | None
    pin: Pin
    password: str | None = field(repr=False)
    lock_file: Path
    lease_number: int
    call_deadline: timedelta
    connect_deadline: timedelta


@dataclass(kw_only=True)
class Call:
    operation: str
    arguments: dict[str, Any]
    end_when: Verdict | None
    abandoned: bool = False


class TerminalProcess:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._pin = link.pin
        self._turns = Turns()
        self._sender: Sender | None = None
        self._connected = False
        self._spare: asyncio.Task[Sender] | None = None
        self._running: set[asyncio.Task[Answer]] = set()

    async def call(
        self, operation: str, arguments: dict[str, Any], *, lane: Lane, end_when: Verdict | None = None
    ) -> Answer:
        """Run one operation in the child; an answer for which `end_when` is true ends the child at once.

        Raises CallFailed, or SenderLost with what is known of the child's end, or BrokerUnavailable.
        """
        await self._enter(lane)
        call = Call(operation=operation, arguments=arguments, end_when=end_when)
        task = asyncio.create_task(self._run(call))
        self._running.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            call.abandoned = True
            raise

    async def retire(self) -> datetime:
        """End the child and prove that no other holds the terminal; the instant of the proof.

        Waits for the call in flight, which its deadline bounds. Raises BrokerUnavailable if there is no proof.
        """
        await self._enter(Lane.STOP)
        try:
            if self._sender is not None and await self._sender.end() is None:
                raise BrokerUnavailable(f"process {self._sender.pid} was killed and does not end")
            self._sender = None
            lock = TerminalLock(self._link.lock_file, lease_number=self._link.lease_number)
            await asyncio.to_thread(lock.prove_free)
            return datetime.now(UTC)
        except TerminalBusy as busy:
            raise BrokerUnavailable(str(busy)) from busy
        finally:
            self._turns.leave()

    async def close(self) -> None:
        await self._enter(Lane.STOP)
        try:
            if self._sender is not None:
                await self._sender.end()
                self._sender = None
            if self._spare is not None:
                spare, self._spare = self._spare, None
                await (await spare).end()
        finally:
            self._turns.leave()

    @property
    def pid(self) -> int | None:
        """The child that holds the terminal now."""
        return self._sender.pid if self._sender is not None and self._sender.alive else None

    async def _enter(self, lane: Lane) -> None:
        impatience = None
        if lane is not Lane.READ:
            loop = asyncio.get_running_loop()
            impatience = loop.call_later(READ_PATIENCE_SECONDS, self._interrupt_read)
        try:
            await self._turns.enter(lane)
        finally:
            if impatience is not None:
                impatience.cancel()

    def _interrupt_read(self) -> None:
        # A child that is still connecting is of use to the send as well.
        if self._turns.holder is Lane.READ and self._sender is not None and self._connected:
            log.warning("a read was interrupted by a send (process %d)", self._sender.pid)
            self._sender.kill()

    async def _run(self, call: Call) -> Answer:
        try:
            sender = await self._ready()
            if call.abandoned:
                raise BrokerUnavailable(f"{call.operation}: the caller went away")
            content = await sender.ask(call.operation, call.arguments, deadline=self._link.call_deadline)
            if call.end_when is None or not call.end_when(content):
                return Answer(content=content, ended_at=None)
            return Answer(content=content, ended_at=await sender.end())
        except SenderLost as lost:
            log.warning(
                "the terminal's process was lost in %s: %s (sent: %s)", call.operation, lost, lost.announced
            )
            raise
        finally:
            self._turns.leave()

    def _done(self, task: asyncio.Task[Answer]) -> None:
        self._running.discard(task)
        # Looking at it tells asyncio that an abandoned call's failure was not overlooked.
        if not task.cancelled():
            task.exception()

    async def _ready(self) -> Sender:
        if self._sender is None or not self._sender.alive or not self._connected:
            await self._attach()
        assert self._sender is not None, "attaching leaves a child or raises"
        return self._sender

    async def _attach(self) -> None:
        self._connected = False
        if self._sender is None or not self._sender.alive:
            if self._sender is not None:
                await self._sender.end()
            self._sender = await self._next_sender()
        arguments = {
            "pin": asdict(self._pin),
            "password": self._link.password,
            "path": self._link.path,
            "lease_number": self._link.lease_number,
        }
        try:
            found = await self._sender.ask("connect", arguments, deadline=self._link.connect_deadline)
        except SenderLost as lost:
            # Nothing was asked of the terminal yet, whatever the caller wanted to send.
            raise BrokerUnavailable(str(lost)) from lost
        account = found["account"]
        self._pin = replace(self._pin, trade_mode=account["trade_mode"], margin_mode=account["margin_mode"])
        self._connected = True
        if self._spare is None:
            self._spare = asyncio.create_task(self._spawn())

    async def _next_sender(self) -> Sender:
        if self._spare is not None:
            waiting, self._spare = self._spare, None
            spare = await waiting
            if spare.alive:
                return spare
            await spare.end()
        return await self._spawn()

    async def _spawn(self) -> Sender:
        try:
            return await Sender.spawn(self._link.kind, self._link.lock_file)
        except OSError as error:
            raise BrokerUnavailable(f"the terminal's process cannot be started: {error}") from error
