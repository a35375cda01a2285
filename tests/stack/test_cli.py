from pathlib import Path

import pytest
from typer.testing import CliRunner

from stack.cli import app, main

ID = "0d9e6f1c-3a2b-4c5d-8e7f-000000000000"
COMMANDS = ("up", "down", "status", "preflight", "trade", "trades", "positions", "stuck", "verify", "reconcile")


@pytest.mark.parametrize("command", [*COMMANDS, "user", "contracts", "limits", "discrepancies"])
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize(
    "words",
    [
        *(["trades"], ["positions"], ["stuck"], ["verify"], ["user", "list"], ["contracts"], ["limits", "list"]),
        *(["reconcile"], ["discrepancies", "list"], ["discrepancies", "show", ID]),
        ["discrepancies", "decide", ID, "accept", "--reason", "told by mail"],
    ],
)
def test_without_a_stack_a_command_says_so_in_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["nexus", *words, "--state-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert str(ended.value).startswith(f"nexus: no stack runs on {tmp_path}; start it with `nexus up`")
    assert "\n" not in str(ended.value)


def test_status_without_a_stack_exits_with_three(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["status", "--state-dir", str(tmp_path)])
    assert (result.exit_code, result.output) == (3, f"no stack runs on {tmp_path}\n")


def test_down_without_a_stack_has_nothing_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["down", "--state-dir", str(tmp_path)])
    assert (result.exit_code, result.output) == (0, f"no stack runs on {tmp_path}\n")


def test_a_wrong_variable_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "eighty")
    monkeypatch.setattr("sys.argv", ["nexus", "up", "--state-dir", str(tmp_path)])
    with pytest.raises(SystemExit, match="API_PORT is 'eighty', which is no whole number"):
        main()
