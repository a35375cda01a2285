"""`nexus sim` against a simulated terminal of its own."""

from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal

import pytest
from typer.testing import CliRunner, Result

from brokers.simulator.client import Connection, TerminalError, address_of
from brokers.simulator.control import Control
from brokers.simulator.fault_wire import KINDS
from brokers.simulator.faults import AnswerLost, ListGap, Placed
from stack.cli import app
from stack.errors import StackError
from tests.brokers.terminals import simulated_terminal

Nexus = Callable[..., Result]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with simulated_terminal(tmp_path_factory.mktemp("sim")) as address:
        yield address


@pytest.fixture
def nexus(address: str) -> Nexus:
    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["sim", *words, "--terminal", address], catch_exceptions=False)

    return run


@pytest.fixture
def control(address: str) -> Iterator[Control]:
    host, _, port = address.rpartition(":")
    with Control(host, int(port)) as control:
        yield control
        control.clear_faults()


def order_whose_answer_is_lost(address: str) -> None:
    """One order as a client of the package would send it."""
    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "type_filling": 1}
    with closing(Connection(address_of(address), connect_seconds=5)) as connection, pytest.raises(TerminalError):
        connection.ask("order_send", {"request": request})


def test_faults_are_listed_with_their_fields() -> None:
    result = CliRunner().invoke(app, ["sim", "faults"], env={"COLUMNS": "200"})
    assert [name for name in KINDS if name not in result.output] == []


def test_faults_of_one_call_are_scripted_together(nexus: Nexus, control: Control, address: str) -> None:
    words = ("placed,after_ms=10", "answer_lost,executed=true", "list_gap,ms=5")
    assert nexus("fault", *words, "--symbol", "EURUSD", "--times", "2").exit_code == 0
    before = len(control.played())
    for _ in range(2):
        order_whose_answer_is_lost(address)
    expected = {Placed(after_ms=10), AnswerLost(executed=True), ListGap(ms=5)}
    assert [set(call.faults) for call in control.played()[before:]] == [expected] * 2


def test_an_event_happens_at_once(nexus: Nexus, control: Control) -> None:
    assert nexus("now", "manual_trade,lots=0.20", "--symbol", "GBPUSD").exit_code == 0
    by_hand = [position for position in control.books().positions if position.symbol == "GBPUSD"]
    assert [(position.magic, position.lots) for position in by_hand] == [(0, Decimal("0.20"))]


def test_chance_is_switched_on_and_off(nexus: Nexus, address: str) -> None:
    assert nexus("chaos", "--seed", "5", "--rate", "answer_lost=1.0").exit_code == 0
    order_whose_answer_is_lost(address)
    shown = nexus("played", "--last", "1")
    assert "order_send EURUSD: AnswerLost(executed=" in shown.output
    assert nexus("clear").exit_code == 0


def test_the_market_is_held_moved_and_released(nexus: Nexus) -> None:
    for words in (("hold",), ("tick", "EURUSD", "1.10000", "1.10010"), ("release", "EURUSD"), ("release",)):
        assert nexus(*words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("fault", "nonsense"), "no such fault: 'nonsense'"),
        (("fault", "reject,retcode=10004", "--op", "positions_get"), "sends no order"),
        (("fault", "hang,executed=true", "--op", "nothing"), "no such call: nothing"),
        (("now", "placed,after_ms=1"), "befalls a call"),
        (("now", "manual_close,ticket=5"), "no position 5"),
        (("chaos", "--rate", "hang"), "FAULT=RATE"),
        (("chaos", "--rate", "hang=2"), "no share"),
        (("tick", "NOSUCH", "1", "2"), "no such symbol"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(nexus: Nexus, words: tuple[str, ...], reason: str) -> None:
    with pytest.raises(StackError, match=reason):
        nexus(*words)


def test_without_a_terminal_a_command_says_so() -> None:
    words = ["sim", "clear", "--terminal", "127.0.0.1:1"]
    with pytest.raises(StackError, match=r"no simulated terminal on 127\.0\.0\.1:1"):
        CliRunner().invoke(app, words, catch_exceptions=False)
