"""The bench runs from end to end on counts that say nothing about speed."""

import json
import sys
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from pathlib import Path

import pytest

from stack.state import CHECKOUT


@pytest.mark.e2e
async def test_every_row_is_measured_against_its_floor(tmp_path: Path) -> None:
    written = tmp_path / "bench.json"
    counts = ("--trades", "2", "--rounds", "1", "--reservations", "2", "--stops", "1")
    counts += ("--reconciliations", "1", "--positions", "50")
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks", *counts, "--json", str(written), "--date", "2026-01-31"),
        cwd=CHECKOUT,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()

    found = json.loads(written.read_text())
    assert found["at"] == "2026-01-31"
    assert found["machine"]["cores"] >= 1
    ways = found["trades"]["ways"]
    assert {name: way["n"] for name, way in ways.items()} == {"REST": 2, "DBOS": 2, "floor": 2}
    assert ways["floor"]["times_floor"] == 1.0
    burst = found["reservations"]["burst"]
    assert 0 < burst["granted"] < burst["asked"]
    assert float(burst["overshoot"]) == 0.0
    stop = found["stops"]
    assert stop["request_to_flat"]["n"] == stop["flat_floor"]["n"] == 1
    assert 0 < stop["request_to_latch"]["p50_ms"] < stop["request_to_flat"]["p50_ms"]

    reconciliations = found["reconciliations"]
    assert reconciliations["positions"] == 50
    assert {name: way["n"] for name, way in reconciliations["ways"].items()} == dict.fromkeys(
        ("agreeing", "differing", "bare SQL"), 1
    )
