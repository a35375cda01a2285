"""The process's one link to a terminal, as the package keeps it: global, blocking, without a deadline.

Unlike the package it lets other threads run while it waits; a caller must not rely on that.
"""

import functools
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn, TypeVar

from brokers.simulator import constants as mt5
from brokers.simulator.wire import HEADER_BYTES, BadFrame, body_length, decode, encode

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 18813
CONNECT_SECONDS_MIN = 0.1
OK = (mt5.RES_S_OK, "Success")
SEND_FAILED = (mt5.RES_E_INTERNAL_FAIL_SEND, "IPC send failed")
RECEIVE_FAILED = (mt5.RES_E_INTERNAL_FAIL_RECEIVE, "IPC recv failed")
OUT_OF_STEP = (mt5.RES_E_INTERNAL_FAIL, "IPC call failed")
NO_CONNECTION = (mt5.RES_E_INTERNAL_FAIL_CONNECT, "No IPC connection")

Call = TypeVar("Call", bound=Callable[..., Any])


class TerminalError(Exception):
    """A call failed; `args` are the code and message of last_error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)


class PipeBroken(TerminalError):
    """The connection is gone with this call."""


class Address(NamedTuple):
    host: str
    port: int


def fence(number: int) -> None:
    """Send orders under this lease number from now on; raises TerminalError when the terminal is gone.

    Not part of the package. The terminal refuses orders from a connection whose number is lower than the highest
    it has ever seen for the account.
    """
    session.fence = number
    if session.connected:
        session.ask("fence", number=number)


def address_of(path: str | None) -> Address:
    """HOST:PORT; raises TerminalError for anything else."""
    if path is None:
        return Address(DEFAULT_HOST, DEFAULT_PORT)
    host, colon, port = path.rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise TerminalError(
            mt5.RES_E_INTERNAL_FAIL_INIT, f"IPC initialize failed, {path!r} is not HOST:PORT of a terminal"
        )
    return Address(host, int(port))


def fails_with(failure: Any) -> Callable[[Call], Call]:
    """Have a call reset last_error, and turn a TerminalError into last_error and this failure value."""

    def decorate(call: Call) -> Call:
        @functools.wraps(call)
        def guarded(*args: Any, **fields: Any) -> Any:
            session.error = OK
            try:
                return call(*args, **fields)
            except TerminalError as error:
                session.error = (error.args[0], error.args[1])
                return failure

        return guarded  # type: ignore[return-value] # same signature, by wraps

    return decorate


class Pipe(ABC):
    """Numbered calls and their answers, with the codes that the package uses for a broken pipe."""

    def __init__(self) -> None:
        self._calls = 0

    def ask(self, op: str, args: dict[str, Any]) -> Any:
        """Raises TerminalError for a call that failed."""
        self._calls += 1
        answer = self._exchange({"id": self._calls, "op": op, "args": args})
        if answer.get("id") != self._calls:
            raise TerminalError(*OUT_OF_STEP)
        if "crash" in answer:
            self._crash(answer["crash"])
        if "broken" in answer:
            raise PipeBroken(*answer["broken"])
        if "error" in answer:
            raise TerminalError(*answer["error"])
        return answer["ok"]

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        """Raises PipeBroken."""

    @abstractmethod
    def _crash(self, status: int) -> NoReturn:
        """End the process that made the call."""


class Connection(Pipe):
    """Frames over one TCP connection; a failure closes it for good."""

    def __init__(self, address: Address, *, connect_seconds: float) -> None:
        """Raises OSError when nobody listens there."""
        super().__init__()
        self._socket = socket.create_connection(address, timeout=connect_seconds)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            self._refuse_closed()
            self._socket.sendall(encode(message))
        except OSError as error:
            raise PipeBroken(*SEND_FAILED) from error
        try:
            return decode(self._read(body_length(self._read(HEADER_BYTES))))
        except (OSError, EOFError) as error:
            raise PipeBroken(*RECEIVE_FAILED) from error
        except BadFrame as error:
            raise PipeBroken(*OUT_OF_STEP) from error

    def _crash(self, status: int) -> NoReturn:
        os._exit(status)

    def _refuse_closed(self) -> None:
        """A pipe that the terminal has closed fails on writing, so nothing was sent (facts §1.3)."""
        patience = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            if not self._socket.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError("the terminal closed the connection")
        except BlockingIOError:
            pass  # nothing to read, as it must be between two calls
        finally:
            self._socket.settimeout(patience)

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._socket.recv(count - len(parts))
            if not part:
                raise EOFError("the terminal closed the connection")
            parts += part
        return bytes(parts)


def over_tcp(address: Address, timeout_seconds: float) -> Pipe:
    return Connection(address, connect_seconds=timeout_seconds)


class Session:
    """Connection, last error and lease number of this process; `dial` makes the connection."""

    def __init__(
        self,
        dial: Callable[[Address, float], Pipe] = over_tcp,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._dial = dial
        self.monotonic = monotonic
        self.sleep = sleep
        self._connection: Pipe | None = None
        self.error: tuple[int, str] = OK
        self.fence: int | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def connect(self, address: Address, *, timeout_seconds: float) -> None:
        """Closes an existing connection first."""
        self.disconnect()
        try:
            self._connection = self._dial(address, max(timeout_seconds, CONNECT_SECONDS_MIN))
        except OSError as error:
            reason = error.strerror or str(error)
            raise TerminalError(
                mt5.RES_E_INTERNAL_FAIL_INIT,
                f"IPC initialize failed, no terminal on {address.host}:{address.port}: {reason}",
            ) from error

    def ask(self, op: str, /, **args: Any) -> Any:
        """One call; a broken connection is dropped, so that later calls say so (facts §1.3)."""
        if self._connection is None:
            raise TerminalError(*NO_CONNECTION)
        try:
            return self._connection.ask(op, args)
        except PipeBroken:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


session = Session()


@contextmanager
def acting(client: Session) -> Iterator[None]:
    """Have the calls of this process go over another session meanwhile, as if they were another process's."""
    own = dict(vars(session))
    vars(session).update(vars(client))
    try:
        yield
    finally:
        vars(client).update(vars(session))
        vars(session).update(own)
