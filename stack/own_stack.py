"""The stack that a command works on: the one that runs, or one that is started for it and ended after it."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from stack.errors import StackError
from stack.programs import Replay
from stack.state import CHECKOUT, RunningStack, StateFolder
from stack.tether import tethered

START_WITHIN_SECONDS = 180.0
END_WITHIN_SECONDS = 120.0
POLL_SECONDS = 0.1


@contextmanager
def running_stack(state: StateFolder, replay: Replay | None, console: Console) -> Iterator[RunningStack]:
    """The stack on the folder, started and ended here unless it runs; StackError if it plays other quotes."""
    running = state.running()
    if running is not None:
        _check_quotes(state, running, replay)
        yield running
        return
    starting = state.owner_pid()
    if starting is not None:
        raise StackError(
            f"the stack on {state.root} (process {starting}) is still starting; try again in a moment"
        )
    state.make()
    said = state.logs / "up.log"
    console.print(f"starting a stack on {state.root}; what it says, first passwords included, is in {said}")
    process = _start(state, replay, said)
    try:
        yield _await_start(state, process, said)
    finally:
        _end(process)


def _check_quotes(state: StateFolder, running: RunningStack, replay: Replay | None) -> None:
    if replay is not None and running.ticks != str(replay.file):
        plays = "generated quotes" if running.ticks is None else running.ticks
        raise StackError(
            f"the stack on {state.root} plays {plays}, not {replay.file}; end it first with `nexus down`"
        )


def _start(state: StateFolder, replay: Replay | None, said: Path) -> subprocess.Popen[bytes]:
    words = () if replay is None else ("--ticks", str(replay.file), "--symbol", replay.symbol)
    command = (sys.executable, "-m", "stack", "up", "--state-dir", str(state.root), *words)
    with said.open("wb") as output:
        said.chmod(0o600)
        return subprocess.Popen(
            tethered(command, death_signal=signal.SIGTERM),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A Ctrl-C at the terminal is for us, and we end it in order.
            start_new_session=True,
        )


def _await_start(state: StateFolder, process: subprocess.Popen[bytes], said: Path) -> RunningStack:
    deadline = time.monotonic() + START_WITHIN_SECONDS
    while (running := state.running()) is None:
        if process.poll() is not None:
            raise StackError(_last_line(said))
        if time.monotonic() > deadline:
            raise StackError(f"the stack was not ready within {START_WITHIN_SECONDS:.0f} s; see {said}")
        time.sleep(POLL_SECONDS)
    return running


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(END_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(said: Path) -> str:
    lines = said.read_text(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "the stack ended without a word")
    return last.removeprefix("nexus: ")
