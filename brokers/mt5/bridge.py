"""`python -m brokers.mt5.bridge`: serve a terminal's package to the adapter over RPyC, from Wine or for tests.

1. A classic RPyC server runs whatever its client sends, so it listens on loopback or a private address alone.
2. `order_send` is for the latest connection that named the newest lease number ever seen here. The number is kept
   in a file and so survives a restart.
3. Calls of the package are made one at a time, and each connection sees the `last_error` of its own calls.
"""

import argparse
import ipaddress
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import rpyc
from rpyc.utils.server import ThreadedServer

from brokers.mt5.retcodes import FENCED
from brokers.mt5.terminals import PACKAGE, import_package

FAIL = -1
SUCCESS = (1, "Success")


class ServedPackage(ModuleType):
    """The package's surface for all connections; RPyC serves each of them in a thread of its own."""

    def __init__(
        self, package: Any, *, path: str | None, fence: Callable[[int], None] | None, kept_in: Path
    ) -> None:
        super().__init__(PACKAGE)
        self._package = package
        self._path = path
        self._fence = fence
        self._kept_in = kept_in
        self._newest = int(kept_in.read_text()) if kept_in.exists() else None
        self._holder: object | None = None
        self._calls = threading.Lock()
        # Apart from the calls, so that a new sender is known although the call of an old one never ends.
        self._fencing = threading.Lock()
        self._own = threading.local()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._package, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **keywords: Any) -> Any:
            with self._calls:
                return self._noted(value(*arguments, **keywords))

        return call

    def last_error(self) -> tuple[int, str]:
        error: tuple[int, str] = getattr(self._own, "last_error", SUCCESS)
        return error

    def initialize(self, *arguments: Any, **keywords: Any) -> Any:
        """Without a path, the terminal that this bridge was started for."""
        if self._path is not None and not arguments and "path" not in keywords:
            arguments = (self._path,)
        with self._calls:
            if self._fence is not None and self._newest is not None:
                self._fence(self._newest)
            return self._noted(self._package.initialize(*arguments, **keywords))

    def fence(self, lease_number: int) -> None:
        """Not of the package: the lease under which this connection sends; the latest of the newest lease may."""
        with self._fencing:
            if self._newest is None or lease_number > self._newest:
                written = self._kept_in.with_suffix(".new")
                written.write_text(f"{lease_number}\n")
                written.replace(self._kept_in)
                self._newest = lease_number
            if lease_number == self._newest:
                self._holder = self._own.token = object()

    def order_send(self, *arguments: Any, **keywords: Any) -> Any:
        with self._calls:
            with self._fencing:
                # A send that waited behind a stuck call may come from a child that is long dead.
                fenced = self._newest is not None and getattr(self._own, "token", None) is not self._holder
            if fenced:
                self._own.last_error = (FAIL, f"{FENCED}: another sender has taken over, lease {self._newest}")
                return None
            return self._noted(self._package.order_send(*arguments, **keywords))

    def _noted(self, result: Any) -> Any:
        self._own.last_error = self._package.last_error()
        return result


def private_address(text: str) -> tuple[str, int]:
    """HOST:PORT of loopback or a private network; raises ArgumentTypeError for any other."""
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host)
        number = int(port)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS:PORT") from None
    if address.is_unspecified or not (address.is_loopback or address.is_private):
        raise argparse.ArgumentTypeError(f"{host} is no loopback or private address, and clients may run any code")
    return host, number


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m brokers.mt5.bridge", description=__doc__.partition("\n")[0])
    parser.add_argument("--listen", type=private_address, default="127.0.0.1:18812", metavar="ADDRESS:PORT")
    parser.add_argument("--terminal", choices=("native", "simulated"), default="native")
    parser.add_argument("--path", help="the terminal's executable, or HOST:PORT of a simulated one")
    parser.add_argument("--fence-file", type=Path, required=True, help="keeps the newest lease number")
    options = parser.parse_args(arguments)
    host, port = options.listen
    package, fence = import_package(options.terminal)
    # What a client imports by the package's name is the served one.
    sys.modules[PACKAGE] = ServedPackage(package, path=options.path, fence=fence, kept_in=options.fence_file)
    try:
        server = ThreadedServer(rpyc.SlaveService, hostname=host, port=port)
    except OSError as error:
        sys.exit(f"the bridge cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}")
    sys.stdout.write(f"bridge ready on {host}:{server.port}\n")
    sys.stdout.flush()
    server.start()


if __name__ == "__main__":
    main()
