from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brokers.simulator import MetaTrader5 as mt5  # noqa: N813 # as everybody calls it
from brokers.simulator.account import MarginMode
from brokers.simulator.client import session
from tests.brokers.simulator.bench import Bench, Process


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A hedging account of 100,000 USD."""
    bench = Bench()
    yield bench
    bench.store.close()


@pytest.fixture
def netting() -> Iterator[Bench]:
    bench = Bench(margin_mode=MarginMode.NETTING)
    yield bench
    bench.store.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a terminal process on this test's state file; those still running are killed at the end."""
    running: list[Process] = []

    def begin(*options: str) -> Process:
        running.append(Process(tmp_path / "terminal.sqlite", *options))
        return running[-1]

    yield begin
    mt5.shutdown()
    session.fence = None
    for process in running:
        process.kill()
