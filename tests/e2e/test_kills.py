"""Each part killed alone while a trade is between its send and its booking, then started again by `up`."""

import asyncio
import json
import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from brokers.simulator.control import Control
from brokers.simulator.faults import Delay
from tests.stack.test_up import Up, free_ports, nexus, up
from tests.waiting import until

pytestmark = pytest.mark.e2e

ANSWER_DELAY_MS = 4000
RESOLVED_WITHIN_SECONDS = 30.0


def client(started: Up) -> httpx.AsyncClient:
    urls = json.loads((started.state / "run.json").read_text())["urls"]
    return httpx.AsyncClient(base_url=urls["api"], timeout=10)


async def log_in(api: httpx.AsyncClient, started: Up) -> dict[str, str]:
    password = (started.state / "secrets" / "demo_trader").read_text().strip()
    answer = await api.post("/api/auth/login", json={"username": "trader", "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def sent_by_the_terminal(started: Up) -> int:
    port = json.loads((started.state / "run.json").read_text())["ports"]["the simulated terminal"]
    with Control("127.0.0.1", port) as control:
        return len([send for send in control.books().sends if send.magic])


async def trade_in_flight(started: Up, client_order_id: str) -> str:
    """Post an order whose answer the terminal holds back, and wait until the terminal has it."""
    port = json.loads((started.state / "run.json").read_text())["ports"]["the simulated terminal"]
    with Control("127.0.0.1", port) as control:
        control.script("EURUSD", [Delay(ms=ANSWER_DELAY_MS)])
    async with client(started) as api:
        headers = await log_in(api, started)
        body = {"symbol": "EURUSD", "side": "buy", "volume": "0.10", "type": "market", "wait_ms": 0}
        answer = await api.post(
            "/api/trading/execute", json={**body, "client_order_id": client_order_id}, headers=headers
        )
        assert answer.status_code == 202, answer.text
        await until(lambda: _has_sent(started), what="the terminal to get the order")
        return str(answer.json()["id"])


async def _has_sent(started: Up) -> bool:
    return await sent_by_the_terminal(started) == 1


async def read_trade(started: Up, trade_id: str) -> dict[str, Any]:
    async with client(started) as api:
        answer = await api.get(f"/api/trading/trades/{trade_id}", headers=await log_in(api, started))
        assert answer.status_code == 200, answer.text
        trade: dict[str, Any] = answer.json()
        return trade


@pytest.mark.parametrize(
    "victim",
    [
        "broker",
        *(pytest.param(each, marks=pytest.mark.long) for each in ("pipeline", "api", "temporal", "postgres")),
    ],
)
async def test_a_trade_in_flight_survives_the_death_of(victim: str, tmp_path: Path) -> None:
    state, ports = tmp_path / "state", free_ports()
    async with up(state, ports=ports) as first:
        trade_id = await trade_in_flight(first, f"killed-{victim}")
        os.kill(first.pid_of(victim), signal.SIGKILL)
        assert await asyncio.wait_for(first.process.wait(), 60) != 0

    async with up(state, ports=ports) as second:

        async def settled() -> bool:
            return bool((await read_trade(second, trade_id))["closed_at"])

        await until(
            settled, what="the trade to be settled", timeout_seconds=RESOLVED_WITHIN_SECONDS, poll_seconds=0.2
        )
        trade = await read_trade(second, trade_id)
        assert (trade["state"], Decimal(trade["filled_volume"])) == ("filled", Decimal("0.10"))
        assert await sent_by_the_terminal(second) == 1
        code, laws = await nexus("verify", state=state)
        assert code == 0, laws
