"""One client's connection, and what may be wrong with it."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from brokers.simulator.terminal import Sender
from brokers.simulator.wire import BadFrame, FrameBuffer, encode

Answer = dict[str, Any]


class Link(asyncio.Protocol):
    """`hung` never answers again; `stuck` answers everything with this error; `skewed` answers past each call."""

    def __init__(self, links: set["Link"], handle: Callable[["Link", Answer], None]) -> None:
        self._links = links
        self._handle = handle
        self._frames = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self.sender = Sender()
        self.controls = False
        self.hung = False
        self.skewed = False
        self.stuck: tuple[int, str] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a stream socket"
        self._transport = transport
        self._links.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # the peer's end is no error here
        self._links.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._handle(self, message)
        except (BadFrame, KeyError) as error:
            sys.stderr.write(f"closing a connection that does not speak the protocol: {error}\n")
            self.close()

    def send(self, answer: Answer) -> None:
        self._write({**answer, "id": answer["id"] - 1} if self.skewed else answer)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _write(self, answer: Answer) -> None:
        if self._transport is not None:
            self._transport.write(encode(answer))
