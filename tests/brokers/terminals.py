"""Terminals as processes of their own, for tests that talk to them as the product does."""

import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from brokers.mt5.adapter import Mt5Broker, open_broker

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 20.0
CALL_DEADLINE = timedelta(seconds=1)
LOGIN = 50001
SERVER = "Simulated-Demo"
ZONE = "Europe/Athens"


@contextmanager
def process(*arguments: str) -> Iterator[str]:
    """The address that the process says it is ready on."""
    started = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield ready_address(started)
    finally:
        started.send_signal(signal.SIGKILL)
        started.communicate()


def ready_address(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        readable, _, _ = select.select([started.stdout], [], [], 0.1)
        if readable:
            line = started.stdout.readline()
            assert " ready on " in line, f"the process said {line!r}"
            return line.rpartition(" ")[2].strip()
    raise AssertionError(f"not ready within {START_SECONDS} s")


@contextmanager
def simulated_terminal(folder: Path, *options: str) -> Iterator[str]:
    state = str(folder / "terminal.sqlite")
    with process("brokers.simulator", "--port", "0", "--state", state, "--time-zone", ZONE, *options) as address:
        yield address


@contextmanager
def bridge_to(address: str, folder: Path) -> Iterator[str]:
    fence_file = str(folder / "bridge.fence")
    options = ("--listen", "127.0.0.1:0", "--terminal", "simulated", "--path", address, "--fence-file", fence_file)
    with process("brokers.mt5.bridge", *options) as served:
        yield served


def mt5_broker(folder: Path, **fields: Any) -> Mt5Broker:
    given: dict[str, Any] = {
        "terminal": "simulated",
        "login": LOGIN,
        "password": None,
        "server": SERVER,
        "server_zone": ZoneInfo(ZONE),
        "call_deadline": CALL_DEADLINE,
        "lock_file": folder / "terminal.lock",
        "lease_number": 1,
    }
    return open_broker(**(given | fields))
