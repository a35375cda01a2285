"""Traps of repeats: a key with another body, fifty at once, and a conflict that moved money all the same."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from temporalio.testing import WorkflowEnvironment

from tests.api.books import at_rest, open_positions
from tests.api.conftest import Api, bearer, open_api, order, running

EXECUTE = "/api/trading/execute"
OTHERS = {
    "side": {"side": "sell"},
    "volume": {"volume": "0.11"},
    "symbol": {"symbol": "XAUUSD"},
    "type": {"type": "limit", "price": "1.05000", "time_in_force": "gtc"},
    "stop": {"stop_loss": "1.05000"},
}


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Two processes of the API on the same books."""

    api: Api
    one: httpx.AsyncClient
    other: httpx.AsyncClient

    async def post(
        self, path: str, body: dict[str, Any], *, http: httpx.AsyncClient | None = None
    ) -> httpx.Response:
        return await (http or self.one).post(path, json=body, headers=bearer("trader"))

    async def effects(self) -> tuple[dict[str, str], int]:
        """What the books say, once nothing moves any more, and how many orders were sent."""
        return await at_rest(self.api.database.engine("owner")), len(self.api.broker.sent)


@pytest.fixture(scope="module")
async def api(migrated_template: str, temporal_env: WorkflowEnvironment) -> AsyncIterator[Api]:
    async with open_api(migrated_template, temporal_env.client) as api:
        yield api


@pytest.fixture
async def processes(api: Api) -> AsyncIterator[Processes]:
    async with running(api.settings) as one, running(api.settings) as other:
        yield Processes(api=api, one=one, other=other)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
async def test_c3_trap_16_same_key_other_body_is_refused_without_effect(
    processes: Processes, other: dict[str, str]
) -> None:
    """Trap 16, the first half."""
    body = order(uuid4().hex)
    first = await processes.post(EXECUTE, body)
    assert first.status_code == 201, first.json()
    done = await processes.effects()

    refused = [
        await processes.post(EXECUTE, {**body, **other}, http=http) for http in (processes.one, processes.other)
    ]
    assert {(each.status_code, each.json()["code"]) for each in refused} == {(409, "client_order_id_conflict")}
    assert await processes.effects() == done


async def test_c3_trap_16_same_key_fifty_at_once_is_one_trade(processes: Processes) -> None:
    """Trap 16, the second half."""
    sent, body = len(processes.api.broker.sent), order(uuid4().hex, wait_ms=20_000)
    answers = await asyncio.gather(
        *(processes.post(EXECUTE, body, http=http) for http in (processes.one, processes.other) * 25)
    )
    assert {each.status_code for each in answers} == {201}
    assert len({each.json()["id"] for each in answers}) == 1
    assert sum("Idempotent-Replay" not in each.headers for each in answers) == 1
    assert len(processes.api.broker.sent) == sent + 1


async def test_same_key_fifty_at_once_with_two_bodies_is_one_trade_of_one_of_them(processes: Processes) -> None:
    sent, key = len(processes.api.broker.sent), uuid4().hex
    bodies = [order(key, volume=volume, wait_ms=20_000) for volume in ("0.10", "0.20") * 25]
    answers = await asyncio.gather(*(processes.post(EXECUTE, body) for body in bodies))

    taken = [each.json() for each in answers if each.status_code == 201]
    assert {each.status_code for each in answers} == {201, 409}
    assert len(taken) == 25
    assert len({(each["id"], each["volume"]) for each in taken}) == 1
    assert len(processes.api.broker.sent) == sent + 1


async def test_trap_17_repeated_call_that_answers_conflict_has_not_moved_money(processes: Processes) -> None:
    """Trap 17: each way into a conflict, again and again, leaves every row of the books as it was."""
    api, key = processes.api, uuid4().hex
    opened = (await processes.post(EXECUTE, order(key, volume="0.30"))).json()
    position = opened["fills"][0]["position_id"]
    await open_positions(api.database, position)
    closing = {"client_order_id": uuid4().hex, "volume": "0.10"}
    closed = await processes.post(f"/api/trading/positions/{position}/close", closing)
    assert closed.status_code == 201, closed.json()
    resting = order(uuid4().hex, type="limit", price="1.05000", time_in_force="gtc")
    trade = f"/api/trading/trades/{(await processes.post(EXECUTE, resting)).json()['id']}"
    assert (await processes.post(f"{trade}/cancel", {"client_order_id": "c"})).status_code == 200
    done = await processes.effects()

    conflicts = [
        (EXECUTE, order(key, volume="0.31")),
        (EXECUTE, order(closing["client_order_id"])),
        (f"/api/trading/positions/{position}/close", {**closing, "volume": "0.20"}),
        (f"/api/trading/positions/{position}/close", {"client_order_id": key}),
        (f"/api/trading/positions/{position}/reverse", {"client_order_id": key}),
        (f"{trade}/cancel", {"client_order_id": "another"}),
        (f"{trade}/modify", {"client_order_id": "c", "stop_loss": "1.04000"}),
    ]
    for path, body in conflicts:
        answers = await asyncio.gather(
            *(processes.post(path, body, http=http) for http in (processes.one, processes.other) * 3)
        )
        assert [each.status_code for each in answers] == [409] * 6, (path, answers[0].text)
        assert await processes.effects() == done, path
