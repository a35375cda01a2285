"""The pipe between the adapter and its child: JSON behind a length of four bytes."""

import json
import struct
from typing import Any

HEADER = struct.Struct(">I")


def encode(message: dict[str, Any]) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


class Frames:
    """Cuts a stream of bytes into messages, however it arrives."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        self._bytes += data

    def take(self) -> dict[str, Any] | None:
        """The next whole message, None while there is none."""
        if len(self._bytes) < HEADER.size:
            return None
        (length,) = HEADER.unpack_from(self._bytes)
        end = HEADER.size + length
        if len(self._bytes) < end:
            return None
        message: dict[str, Any] = json.loads(self._bytes[HEADER.size : end])
        del self._bytes[:end]
        return message
