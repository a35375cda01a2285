"""The demo on a running stack and on one of its own; and how it tells a life that went wrong."""

import os
import sys
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.demo_lives import Life, Lives
from stack.rest import client
from tests.stack.test_up import CHECKOUT, left_running, up
from tests.waiting import free_port

RECORDED = CHECKOUT.parent / "shared" / "data" / "ticks" / "EURUSD-histdata-2020-01-01.csv"
PORTS = ("POSTGRES_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SIMULATOR_PORT", "API_PORT")
LIVES, LAWS = 7, 10


async def demo(state: Path, *words: str, ports: dict[str, str] | None = None) -> tuple[int | None, str]:
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "stack", "demo", "--state-dir", str(state), *words),
        cwd=CHECKOUT,
        env={**os.environ, **(ports or {})},
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


def own_ports() -> dict[str, str]:
    return {name: str(free_port()) for name in PORTS}


def assert_all_went_well(code: int | None, said: str) -> None:
    assert code == 0, said
    assert said.count("as expected: ") == LIVES
    assert said.count(": holds (") == LAWS
    assert "(0 checked)" not in said


@pytest.mark.e2e
async def test_on_a_running_stack_it_passes_each_time_and_refuses_other_quotes(tmp_path: Path) -> None:
    state = tmp_path / "state"
    recording = tmp_path / "quotes.csv"
    recording.write_text("timestamp,bid,ask\n2020-01-01 22:00:00+00:00,1.12120,1.12172\n")
    async with up(state):
        for _ in range(2):
            assert_all_went_well(*await demo(state))
        code, said = await demo(state, "--ticks", str(recording))
        refusal = f"the stack on {state} plays generated quotes, not {recording}; end it first with `nexus down`"
        assert (code, said) == (1, f"nexus: {refusal}\n")


@pytest.mark.e2e
@pytest.mark.skipif(not RECORDED.exists(), reason=f"the recorded quotes are not at {RECORDED}")
async def test_over_recorded_quotes_it_starts_a_stack_and_leaves_nothing_running(tmp_path: Path) -> None:
    state = tmp_path / "state"
    code, said = await demo(state, "--ticks", str(RECORDED), ports=own_ports())

    assert_all_went_well(code, said)
    assert left_running(state) == []


@pytest.mark.e2e
async def test_a_stack_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    state, same = tmp_path / "state", str(free_port())
    code, said = await demo(state, ports={**own_ports(), "API_PORT": same, "SIMULATOR_PORT": same})

    assert code == 1
    assert said.splitlines()[-1].startswith(f"nexus: port {same} is meant for both ")
    assert left_running(state) == []


def filled_life_against(trade: dict[str, Any], *, status: int = 201) -> Life:
    """The life of the first market order, where the API answers with this trade."""
    whole = {"id": "7", "fills": [], "reason": None, "closed_at": "2026-01-02T00:00:01+00:00", **trade}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            states = {"from": "pending", "to": trade.get("state")}
            return httpx.Response(200, json={"items": [{"kind": "trade.moved", "payload": states}]})
        return httpx.Response(status if request.method == "POST" else 200, json=whole)

    with (
        client("http://127.0.0.1:1") as real,
        httpx.Client(
            base_url="http://127.0.0.1:1", transport=httpx.MockTransport(answer), event_hooks=real.event_hooks
        ) as api,
    ):
        return Lives(api, symbol="EURUSD", terminal_port=1).filled()


def test_a_fill_of_the_whole_volume_is_as_expected() -> None:
    life = filled_life_against({"state": "filled", "filled_volume": "0.1"})

    assert (life.as_expected, life.expected, life.got) == (True, "filled", "filled")


def test_another_end_is_told_with_its_reason() -> None:
    life = filled_life_against({"state": "denied", "filled_volume": "0", "reason": "quote_stale"})

    assert (life.as_expected, life.got) == (False, "denied by 0 fills, quote_stale")


def test_a_fill_of_less_is_not_as_expected() -> None:
    life = filled_life_against({"state": "filled", "filled_volume": "0.05"})

    assert not life.as_expected


def test_a_refusal_of_the_api_is_told_in_its_words() -> None:
    life = filled_life_against({"code": "pipeline_unavailable", "detail": "try again"}, status=503)

    assert not life.as_expected
    assert life.trade is None
    assert life.got == "POST /api/trading/execute: 503 pipeline_unavailable: try again"
