"""Where the embedded stack keeps things on disk, and the lock that allows one stack per folder."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.errors import StackError

if sys.platform != "win32":
    # No embedded stack runs on Windows, so there is no folder of one to lock.
    import fcntl

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Urls:
    """The addresses of a running stack, as its clients need them."""

    api: str
    temporal_address: str
    temporal_ui: str
    database_owner_file: str


@dataclass(frozen=True, kw_only=True)
class RunningStack:
    """What a running stack tells the other commands about itself; `ticks` is the file that it replays."""

    pid: int
    urls: Urls
    ports: dict[str, int]
    pids: dict[str, int]
    ticks: str | None = None


@dataclass(frozen=True)
class StateFolder:
    root: Path

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def temporal_database(self) -> Path:
        return self.root / "temporal.db"

    @property
    def simulator_database(self) -> Path:
        return self.root / "simulator.sqlite"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def anchors(self) -> Path:
        """Where the head of the audit record is told to, outside of the database."""
        return self.root / "audit-anchors.jsonl"

    @property
    def run_file(self) -> Path:
        return self.root / "run.json"

    def make(self) -> None:
        # Others may pass through, since PostgreSQL may run as another user, but list and read nothing.
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711)
        for folder in (self.logs, self.secrets):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; raises StackError when another stack runs on it."""
        with (self.root / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                holder = lock.read().strip()
                raise StackError(
                    f"a stack already runs on {self.root} (process {holder}); end it with `nexus down`"
                ) from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def owner_pid(self) -> int | None:
        """The process that holds the folder now; a number left by a process that is gone does not count."""
        try:
            lock = (self.root / "lock").open()
        except FileNotFoundError:
            return None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0) or None
            return None

    def write_run_file(self, running: RunningStack) -> None:
        unfinished = self.run_file.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(running), indent=2))
        unfinished.replace(self.run_file)

    def running(self) -> RunningStack | None:
        """The stack that runs on this folder and has told its addresses."""
        pid = self.owner_pid()
        if pid is None:
            return None
        try:
            told = json.loads(self.run_file.read_text())
        except FileNotFoundError:
            return None
        # A file left by a stack that was killed says nothing about one that is starting.
        return RunningStack(**{**told, "urls": Urls(**told["urls"])}) if told["pid"] == pid else None
