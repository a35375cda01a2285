"""Waiting for a condition, with a bound."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.ways import BenchFailed


async def until(condition: Callable[[], Awaitable[bool]], *, what: str, timeout_seconds: float = 20.0) -> None:
    """Poll until the condition holds; BenchFailed, naming what was awaited, once the time is up."""
    deadline = time.monotonic() + timeout_seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise BenchFailed(f"waited {timeout_seconds:.0f} s for {what}")
        await asyncio.sleep(0.02)
