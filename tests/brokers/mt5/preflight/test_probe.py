"""The process that makes the calls sends to nothing but the demo account it was opened for."""

from pathlib import Path
from typing import Any

import pytest

from brokers.mt5 import probe as probe_module
from brokers.mt5.probe import Probe
from brokers.mt5.terminals import Reply, TerminalKind

DEMO = {"login": 7, "server": "Broker", "trade_mode": 0}


class Terminal:
    def __init__(self, account: dict[str, Any] | None) -> None:
        self.account = account
        self.called: list[str] = []

    def call(self, name: str, *_: Any, **__: Any) -> Reply:
        self.called.append(name)
        return Reply(self.account if name == "account_info" else {"retcode": 10009}, 1, "Success")

    def initialize(self, *, timeout_ms: int) -> Reply:
        return Reply(value=True, code=1, message=f"within {timeout_ms}")

    def fence(self, lease_number: int) -> None:
        raise AssertionError(f"a pre-flight has no lease, least of all {lease_number}")


def opened(terminal: Terminal, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    def open_terminal(_: TerminalKind, __: str | None) -> Terminal:
        return terminal

    monkeypatch.setattr(probe_module, "open_terminal", open_terminal)
    probe = Probe("simulated", folder / "terminal.lock")
    arguments = {"path": None, "login": 7, "server": "Broker", "timeout_ms": 1}
    assert probe.answer({"number": 1, "operation": "open", "arguments": arguments})["answer"]["value"] is True
    return probe


def ask(probe: Probe, name: str) -> dict[str, Any]:
    return probe.answer({"number": 2, "operation": name, "arguments": {"positional": [{}], "keywords": {}}})


def test_an_order_goes_to_the_demo_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(DEMO)
    assert ask(opened(terminal, tmp_path, monkeypatch), "order_send")["answer"]["value"] == {"retcode": 10009}
    assert terminal.called == ["account_info", "order_send"]


@pytest.mark.parametrize(
    "shown",
    [DEMO | {"trade_mode": 1}, DEMO | {"trade_mode": 2}, DEMO | {"login": 8}, DEMO | {"server": "B"}, None],
)
def test_an_order_goes_to_no_other(
    shown: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(shown)
    assert ask(opened(terminal, tmp_path, monkeypatch), "order_send")["fault"] == "not_demo"
    assert "order_send" not in terminal.called


def test_no_other_call_of_the_package_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(DEMO)
    assert "Buy is no call" in ask(opened(terminal, tmp_path, monkeypatch), "Buy")["message"]
    assert terminal.called == []
