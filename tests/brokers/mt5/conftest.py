"""A simulated terminal for each class of tests, and the adapter over it; the class says which kind."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from brokers.mt5.adapter import Mt5Broker
from brokers.simulator.control import Control
from tests.brokers.terminals import bridge_to, mt5_broker, simulated_terminal


@pytest.fixture(scope="class")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("terminal")


@pytest.fixture(scope="class")
def address(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    with simulated_terminal(folder, *getattr(request.cls, "options", ())) as address:
        yield address


@pytest.fixture(scope="class")
def control(address: str) -> Iterator[Control]:
    host, _, port = address.rpartition(":")
    with Control(host, int(port)) as control:
        yield control


@pytest.fixture(scope="class")
async def broker(request: pytest.FixtureRequest, folder: Path, address: str) -> AsyncIterator[Mt5Broker]:
    with ExitStack() as stack:
        kind = request.cls.terminal
        path = stack.enter_context(bridge_to(address, folder)) if kind == "bridge" else address
        broker = mt5_broker(folder, terminal=kind, path=path)
        yield broker
        await broker.close()
