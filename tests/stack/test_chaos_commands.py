"""`nexus chaos` as a person runs it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack.chaos.cells import CELLS


def chaos(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stack", "chaos", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_a_few_runs_end_clean_and_write_their_matrix(tmp_path: Path) -> None:
    report = tmp_path / "matrix.md"
    ended = chaos("--seed", "5", "--runs", "30", "--jobs", "2", "--report", str(report))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "30 runs: 0 duplicate order, 0 lost order" in ended.stdout
    page = report.read_text()
    assert "Seeds 5 to 34" in page
    assert f"There are {len(CELLS)} cells" in page
    counts = [
        int(n)
        for row in re.findall(r"^\| (?!run|\*).*\|$", page, re.MULTILINE)
        for n in re.findall(r" (\d+) ", row)
    ]
    assert sum(counts) >= 30


def test_a_trace_shows_every_step_of_a_run() -> None:
    ended = chaos("--seed", "0", "--runs", "1", "--trace")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "workflow task: accept begins" in ended.stdout
    assert "pipeline-1 is dead" in ended.stdout
    assert "seed 0: accept, killed before: filled" in ended.stdout


def test_a_report_into_a_missing_folder_is_refused_before_anything_runs(tmp_path: Path) -> None:
    ended = chaos("--runs", "1", "--report", str(tmp_path / "missing" / "matrix.md"))
    assert ended.returncode != 0
    assert "--report: there is no folder" in ended.stdout + ended.stderr


@pytest.mark.e2e
@pytest.mark.long
def test_programs_of_a_real_stack_are_killed_and_the_books_still_agree(tmp_path: Path) -> None:
    report = tmp_path / "kills.md"
    ended = chaos("--processes", "--seed", "15", "--runs", "3", "--report", str(report))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "seed 15: broker killed after 12 ms" in ended.stdout
    assert "3 runs, 0 breaches" in ended.stdout
    assert "| broker, killed |" in report.read_text()
