"""The logs of the children: a file each, and their new lines shown in the foreground with the child's name.

Children write to their files themselves. A terminal that stops reading, or a launcher that is slow, never holds
one up, and its last words are on disk whatever happens.
"""

import asyncio
import itertools
import shutil
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.text import Text

COLOURS = itertools.cycle(("cyan", "green", "magenta", "yellow", "blue", "bright_red", "bright_cyan"))
FILE_BYTES_MAX = 20_000_000
LINE_BYTES_MAX = 64_000
POLL_SECONDS = 0.1


@dataclass(kw_only=True)
class ChildLog:
    """One child's log file, read from where this run of it began."""

    name: str
    path: Path
    colour: str = field(default_factory=lambda: next(COLOURS))
    shown: bool = True
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    _offset: int = 0
    _unshown: list[str] = field(default_factory=list)

    def open(self) -> BinaryIO:
        """The file for the child to append to; what earlier runs wrote stays above."""
        if self.path.exists() and self.path.stat().st_size > FILE_BYTES_MAX:
            self.path.replace(self.path.with_suffix(".log.1"))
        file = self.path.open("ab")
        self._offset = file.tell()
        return file

    def collect(self) -> None:
        """Take in the whole lines written since the last time."""
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while self._offset < size:
                line = file.readline(LINE_BYTES_MAX)
                if not line.endswith(b"\n") and len(line) < LINE_BYTES_MAX:
                    break  # the child is still writing it
                self._offset += len(line)
                text = line.decode(errors="replace").rstrip()
                self.recent.append(text)
                self._unshown.append(text)
        if self._offset > FILE_BYTES_MAX:
            self._rotate()

    def take_unshown(self) -> list[str]:
        """The lines collected since the last call."""
        self.collect()
        taken, self._unshown = self._unshown, []
        return taken

    @property
    def last_line(self) -> str:
        return next((line for line in reversed(self.recent) if line), "it printed nothing")

    def _rotate(self) -> None:
        # The child holds the file open for appending, so it is emptied in place rather than replaced.
        shutil.copyfile(self.path, self.path.with_suffix(".log.1"))
        with self.path.open("r+b") as file:
            file.truncate(0)
        self._offset = 0


class Foreground(Console):
    """The terminal of the person who started the stack."""

    def on_broken_pipe(self) -> None:
        # Nobody reads any more; the stack goes on, and its logs are on disk.
        self.quiet = True

    def say(self, text: str) -> None:
        self.print(Text(text), soft_wrap=True)

    def show(self, log: ChildLog) -> None:
        """Print what the child has written since the last time, unless it goes to its file alone."""
        for line in log.take_unshown() if log.shown else ():
            self.print(Text.assemble((f"{log.name:>9} | ", log.colour), line), soft_wrap=True)


async def follow(logs: Sequence[ChildLog], foreground: Foreground) -> None:
    """Show new lines of all logs until cancelled; `logs` may grow meanwhile."""
    while True:
        for log in logs:
            foreground.show(log)
        await asyncio.sleep(POLL_SECONDS)
