"""What a crashed PostgreSQL leaves: processes that still work in its folder, and a lock file without an owner."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

# A busy backend ends at the next point where it looks for signals; a query deep in C code may take a while.
POLITE_SECONDS = 5.0
FORCED_SECONDS = 10.0


async def end_leftovers(data: Path) -> None:
    """End every process that works in `data`, then remove a lock file whose number belongs to somebody else.

    A backend that outlives its server blocks the next start until its query ends, and so does a lock file whose
    number a live process of the same user has been given since.
    """
    if sys.platform != "linux":  # without /proc the server's own check of its lock file has to do
        return
    await _end(_working_in(data), data)
    lock = data / "postmaster.pid"
    if lock.exists() and _belongs_to_another(lock, data):
        lock.unlink()


async def _end(pids: set[int], data: Path) -> None:
    for stop_signal, seconds in ((signal.SIGTERM, POLITE_SECONDS), (signal.SIGKILL, FORCED_SECONDS)):
        for pid in pids:
            _signal(pid, stop_signal)
        deadline = time.monotonic() + seconds
        while pids and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            pids = _working_in(data)
        if not pids:
            return


def _working_in(data: Path) -> set[int]:
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {pid for pid in pids if _works_in(pid, data)}


def _works_in(pid: int, data: Path) -> bool:
    """Whether the process is a PostgreSQL of this folder; a zombie has no working folder and does not count."""
    try:
        folder = Path(f"/proc/{pid}/cwd").readlink()
        program = Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return False  # it ended meanwhile, or belongs to a user whose processes are none of ours
    return folder == data.resolve() and program.name.startswith("postgres")


def _belongs_to_another(lock: Path, data: Path) -> bool:
    first_line = lock.read_text().partition("\n")[0].strip()
    return not first_line.isdigit() or not _works_in(int(first_line), data)


def _signal(pid: int, stop_signal: signal.Signals) -> None:
    try:
        os.kill(pid, stop_signal)
    except ProcessLookupError:
        return  # it ended by itself
