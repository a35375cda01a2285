"""Waiting for a condition with a bound, and free ports."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], Awaitable[bool]],
    *,
    what: str,
    timeout_seconds: float = 20.0,
    poll_seconds: float = 0.02,
) -> None:
    """Poll until the condition holds; fails, naming what was awaited, once the time is up."""
    deadline = time.monotonic() + timeout_seconds
    while not await condition():
        assert time.monotonic() < deadline, f"waited {timeout_seconds} s for {what}"
        await asyncio.sleep(poll_seconds)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
