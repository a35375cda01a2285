"""The three terminals behind one face: plain data out, and the error that belongs to each call beside it."""

import importlib
import inspect
import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from brokers.mt5 import remote
from brokers.mt5.constants import SUCCESS

TerminalKind = Literal["native", "bridge", "simulated"]

PACKAGE = "MetaTrader5"
BRIDGE_DEFAULT = "127.0.0.1:18812"


class Reply(NamedTuple):
    """What a call returned, structs as dicts, with the package's `last_error` after it."""

    value: Any
    code: int
    message: str


class TerminalFault(Exception):
    """A question that the terminal did not answer; nothing may be concluded from it."""

    def __init__(self, call: str, code: int, message: str) -> None:
        super().__init__(f"{call}: {message} ({code})")
        self.code = code


class Terminal(Protocol):
    def call(self, name: str, *arguments: Any, **keywords: Any) -> Reply:
        """Call a function of the package; raises TerminalFault if the way to it is broken."""

    def initialize(self, *, timeout_ms: int) -> Reply: ...

    def fence(self, lease_number: int) -> None:
        """Name the lease under which this sender acts; a terminal that cannot check it ignores it."""


class ImportedTerminal:
    """A module with the package's surface in this very process."""

    def __init__(self, module: Any, path: str | None, fence: Callable[[int], None] | None) -> None:
        self._module = module
        self._path = path
        self._fence = fence

    def call(self, name: str, *arguments: Any, **keywords: Any) -> Reply:
        value = remote.plain(getattr(self._module, name)(*arguments, **keywords))
        if value is None or value is False:
            return Reply(value, *self._module.last_error())
        return Reply(value, SUCCESS, "Success")

    def initialize(self, *, timeout_ms: int) -> Reply:
        return self.call("initialize", *([self._path] if self._path else []), timeout=timeout_ms)

    def fence(self, lease_number: int) -> None:
        if self._fence is not None:
            self._fence(lease_number)


class BridgedTerminal:
    """The package in another Python, as RPyC's classic server offers it; each call is one round trip.

    No time limit is set here: the child that waits is killed at its deadline, and RPyC's own default would give up
    before the terminal does, with the order perhaps sent.
    """

    def __init__(self, path: str) -> None:
        self._host, _, port = path.rpartition(":")
        self._port = int(port)
        self._lease_number: int | None = None
        self._connection: Any = None
        self._package: Any = None
        self._call_as_text: Any = None

    def call(self, name: str, *arguments: Any, **keywords: Any) -> Reply:
        if self._connection is None:
            return Reply(None, -10004, "No IPC connection")
        text = json.dumps([arguments, keywords])
        try:
            answer = self._call_as_text(self._package, name, text)
        except (EOFError, OSError) as lost:
            self._connection = None
            raise TerminalFault(name, -10002, f"the bridge went away: {lost}") from lost
        value, (code, message) = json.loads(answer)
        return Reply(value, code, message)

    def initialize(self, *, timeout_ms: int) -> Reply:
        if self._connection is None:
            try:
                self._connect()
            except (EOFError, OSError) as lost:
                raise TerminalFault(
                    "initialize", -10003, f"no bridge at {self._host}:{self._port}: {lost}"
                ) from lost
        return self.call("initialize", timeout=timeout_ms)

    def fence(self, lease_number: int) -> None:
        self._lease_number = lease_number

    def _connect(self) -> None:
        rpyc = importlib.import_module("rpyc")
        stream = rpyc.SocketStream.connect(self._host, self._port, nodelay=True)
        # A master offers nothing to the other side: the bridge cannot call into this process.
        connection = rpyc.connect_stream(stream, rpyc.MasterService, {"sync_request_timeout": None})
        connection.execute(inspect.getsource(remote))
        package = connection.modules[PACKAGE]
        # Only our own bridge knows leases; a plain one serves the package and no more.
        if self._lease_number is not None and hasattr(package, "fence"):
            package.fence(self._lease_number)
        self._call_as_text = connection.namespace["call_as_text"]
        self._connection, self._package = connection, package


def import_package(kind: Literal["native", "simulated"]) -> tuple[Any, Callable[[int], None] | None]:
    """The package, and how to name the lease to a terminal that knows leases.

    Raises ImportError where the package cannot be had, which for the native one is everywhere but on Windows.
    """
    if kind == "native":
        return importlib.import_module(PACKAGE), None
    client = importlib.import_module("brokers.simulator.client")
    return importlib.import_module("brokers.simulator.MetaTrader5"), client.fence


def open_terminal(kind: TerminalKind, path: str | None) -> Terminal:
    """Raises ImportError where the package cannot be had."""
    if kind == "bridge":
        return BridgedTerminal(path or BRIDGE_DEFAULT)
    package, fence = import_package(kind)
    return ImportedTerminal(package, path, fence)
