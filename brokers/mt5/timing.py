"""The machine's own time, as the terminal's side of the adapter uses it; a rehearsal hands in another."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep, time


@dataclass(frozen=True, kw_only=True)
class Timing:
    """`time` in seconds since the Unix epoch; `monotonic` and `sleep` in seconds."""

    time: Callable[[], float] = time
    monotonic: Callable[[], float] = monotonic
    sleep: Callable[[float], None] = sleep
