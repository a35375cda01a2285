"""Frames between client and terminal: four bytes of length, most significant first, then JSON."""

import json
from collections.abc import Iterator
from typing import Any

HEADER_BYTES = 4
FRAME_BYTES_MAX = 256 * 1024 * 1024


class BadFrame(ValueError):
    """The stream does not hold a frame of this protocol."""


def encode(message: dict[str, Any]) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def decode(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise BadFrame(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise BadFrame("a frame holds one JSON object")
    return message


def body_length(header: bytes) -> int:
    length = int.from_bytes(header, "big")
    if length > FRAME_BYTES_MAX:
        raise BadFrame(f"a frame of {length} bytes is over the limit of {FRAME_BYTES_MAX}")
    return length


class FrameBuffer:
    """Collects bytes as they come and hands out whole messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Raises BadFrame when the stream is out of step."""
        self._bytes += data
        while len(self._bytes) >= HEADER_BYTES:
            end = HEADER_BYTES + body_length(bytes(self._bytes[:HEADER_BYTES]))
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[HEADER_BYTES:end])
            del self._bytes[:end]
            yield decode(body)
