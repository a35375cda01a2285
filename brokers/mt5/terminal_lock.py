"""One child per terminal, proven by the operating system: the lock dies with its holder.

1. Whoever holds the lock of a terminal knows that no other child of this machine talks to it.
2. A holder under an older lease may be killed by its successor; one under a newer lease never.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

CHILD_MODULE = "brokers.mt5.child"
# A killed holder is gone within milliseconds; this is for a machine that is busy.
PATIENCE_SECONDS = 2.0
POLL_SECONDS = 0.01
# Windows locks bytes against reading too, so the locked byte lies beyond the text.
LOCKED_BYTE = 1 << 20


class TerminalBusy(Exception):
    """Another child holds the terminal and cannot be made to let go."""


class Holder(NamedTuple):
    pid: int
    lease_number: int


class TerminalLock:
    def __init__(self, path: Path, *, lease_number: int) -> None:
        self._path = path
        self._lease_number = lease_number
        self._descriptor: int | None = None

    def hold(self) -> None:
        """Take the lock for the life of this process and write down who holds it; twice is as good as once."""
        if self._descriptor is None:
            self._descriptor = self._seize()
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()} {self._lease_number}\n".encode())

    def prove_free(self) -> None:
        """Return once nobody holds the lock; raises TerminalBusy if that cannot be brought about."""
        os.close(self._seize())

    def _seize(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        killed: set[int] = set()
        while not try_lock(descriptor):
            holder = self._holder()
            refused = self._remove(holder, killed) if holder else None
            if refused or time.monotonic() >= give_up_at:
                os.close(descriptor)
                raise TerminalBusy(refused or f"{self._path} is held by {holder}")
            time.sleep(POLL_SECONDS)
        return descriptor

    def _holder(self) -> Holder | None:
        words = self._path.read_text().split()
        return Holder(int(words[0]), int(words[1])) if len(words) == 2 else None

    def _remove(self, holder: Holder, killed: set[int]) -> str | None:
        """Kill the holder if we may; otherwise why not, None if it should be waited for."""
        if holder.lease_number > self._lease_number:
            return f"process {holder.pid} serves the terminal under the newer lease {holder.lease_number}"
        if holder.pid in killed or not is_child_for(holder.pid, self._path):
            return None
        killed.add(holder.pid)
        try:
            os.kill(holder.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        except ProcessLookupError:
            return None
        except PermissionError:
            return f"process {holder.pid} holds the terminal and belongs to another user"
        return None


def is_child_for(pid: int, lock: Path) -> bool:
    """Whether the process is a child of this terminal: a number alone may long belong to something else."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return CHILD_MODULE in command and str(lock) in command


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True
else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
