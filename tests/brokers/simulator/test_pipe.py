"""What a client of the package meets when the pipe, the terminal or itself breaks (facts §1.3, §1.4, §10.3)."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from brokers.simulator import MetaTrader5 as mt5  # noqa: N813 # as everybody calls it
from brokers.simulator.client import Address, Connection, TerminalError, session
from brokers.simulator.control import Control, ControlRefused
from brokers.simulator.faults import (
    AccountSwitched,
    AnswerLost,
    Crash,
    HistoryLag,
    LinkLost,
    ListGap,
    ManualClose,
    ManualTrade,
    OutOfStep,
    PipeDead,
    PipeStuck,
    Placed,
    QueryFailure,
    Reject,
    TerminalRestarted,
    TransportFault,
)
from tests.brokers.simulator.bench import ROOT, Process, wait_for

BUY: dict[str, Any] = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "type_filling": 1, "magic": 7}
LOST, NOT_WRITTEN, NO_HANDLE, MISFIT = -10002, -10001, -10004, -10000


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("pipe") / "terminal.sqlite")
    yield process
    process.kill()


@pytest.fixture
def control(terminal: Process) -> Iterator[Control]:
    """A hand on the broker, whose market stands still, and the package's session attached beside it."""
    session.fence = None
    with terminal.control() as control:
        control.clear_faults()
        control.hold_market()
        control.tick("EURUSD", "1.10000", "1.10010")
        assert mt5.initialize(terminal.address, login=50001), mt5.last_error()
        for position in mt5.positions_get():
            control.manual_close(position.ticket)
        yield control
        control.clear_faults()
    mt5.shutdown()


def executions(control: Control) -> int:
    return control.counts().get(7, 0)


def test_a_dead_pipe_sends_nothing_and_needs_a_new_attachment(terminal: Process, control: Control) -> None:
    before = executions(control)
    control.script("EURUSD", [PipeDead()])
    assert (mt5.order_send(BUY), mt5.last_error()[0]) == (None, NOT_WRITTEN)
    assert (mt5.order_send(BUY), mt5.last_error()[0]) == (None, NO_HANDLE)
    assert mt5.initialize(terminal.address)
    assert executions(control) == before
    assert control.books().sends[-1].answer == {"fault": "PipeDead"}


def test_a_stuck_pipe_fails_for_ever_until_shutdown_and_initialize(terminal: Process, control: Control) -> None:
    before = executions(control)
    control.script("EURUSD", [PipeStuck()])
    for _ in range(3):
        assert (mt5.order_send(BUY), mt5.last_error()[0]) == (None, NOT_WRITTEN)
    assert (mt5.positions_get(), mt5.last_error()[0]) == (None, NOT_WRITTEN)
    mt5.shutdown()
    assert mt5.initialize(terminal.address)
    assert mt5.positions_get() == ()
    assert executions(control) == before


@pytest.mark.parametrize("executed", [True, False])
def test_a_stream_out_of_step_hides_what_was_done_and_stays_so(
    terminal: Process,
    control: Control,
    executed: bool,  # noqa: FBT001
) -> None:
    before = executions(control)
    control.script("EURUSD", [OutOfStep(executed=executed)])
    assert (mt5.order_send(BUY), mt5.last_error()[0]) == (None, MISFIT)
    assert executions(control) == before + int(executed)
    assert (mt5.order_send(BUY), mt5.last_error()[0]) == (None, MISFIT)
    assert executions(control) == before + int(executed) + 1
    assert mt5.initialize(terminal.address)
    assert mt5.positions_total() == int(executed) + 1


@pytest.mark.parametrize("executed", [True, False])
def test_a_failed_call_leaves_the_connection_alone(control: Control, executed: bool) -> None:  # noqa: FBT001
    before = executions(control)
    control.script("EURUSD", [QueryFailure(executed=executed)])
    control.script("*", [QueryFailure(code=-3)], op="positions_get")
    assert (mt5.order_send(BUY), mt5.last_error()) == (None, (-1, "Terminal: Call failed"))
    assert (mt5.positions_get(), mt5.last_error()) == (None, (-3, "Terminal: Out of memory"))
    assert executions(control) == before + int(executed)
    assert mt5.positions_total() == int(executed)


@pytest.mark.parametrize("op", ["positions_get", "orders_get", "history_orders_get", "history_deals_get"])
def test_any_query_may_fail_as_often_as_told(control: Control, op: str) -> None:
    control.script("*", [QueryFailure()], op="*_get", repeat=True)
    call: Callable[..., Any] = getattr(mt5, op)
    span = (1_700_000_000, 1_900_000_000) if op.startswith("history") else ()
    assert [call(*span) for _ in range(3)] == [None] * 3
    control.clear_faults()
    assert call(*span) is not None


@pytest.mark.parametrize("executed", [True, False])
def test_a_crash_ends_the_process_inside_the_call(
    terminal: Process,
    control: Control,
    executed: bool,  # noqa: FBT001
) -> None:
    before = executions(control)
    control.script("EURUSD", [Crash(executed=executed)])
    script = (
        "from brokers.simulator import MetaTrader5 as mt5\n"
        f"assert mt5.initialize({terminal.address!r})\n"
        f"mt5.order_send({BUY!r})\n"
        "print('answered')\n"
    )
    crashed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=20, check=False
    )
    assert (crashed.returncode, crashed.stdout) == (70, b"")
    assert executions(control) == before + int(executed)


TRADE_UNDER_TRANSPORT: list[TransportFault] = [AnswerLost(executed=True), OutOfStep(executed=True)]


@pytest.mark.parametrize("transport", TRADE_UNDER_TRANSPORT)
def test_an_order_placed_and_later_filled_may_lose_its_answer_too(
    terminal: Process, control: Control, transport: TransportFault
) -> None:
    before = executions(control)
    control.script("EURUSD", [[Placed(after_ms=100, parts=2), transport, HistoryLag(ms=50), ListGap(ms=50)]])
    assert mt5.order_send(BUY) is None
    assert mt5.initialize(terminal.address)
    assert (mt5.orders_get(), mt5.positions_get()) == ((), ())
    wait_for(lambda: mt5.positions_total() == 1)
    wait_for(lambda: [position.volume for position in mt5.positions_get()] == [0.1])
    assert executions(control) == before + 1


def test_a_rejection_may_lose_its_answer_too(terminal: Process, control: Control) -> None:
    before = executions(control)
    control.script("EURUSD", [[Reject(retcode=10004), AnswerLost(executed=True)]])
    assert (mt5.order_send(BUY), mt5.last_error()[0]) == (None, LOST)
    assert mt5.initialize(terminal.address)
    assert executions(control) == before
    assert control.books().sends[-1].answer[0] == 10004


def test_a_restart_breaks_every_pipe_and_counts_requests_anew(terminal: Process, control: Control) -> None:
    assert mt5.order_send(BUY) is not None
    before = executions(control)
    with closing(Connection(Address("127.0.0.1", terminal.port), connect_seconds=5)) as bystander:
        bystander.ask("positions_total", {})
        control.script("EURUSD", [TerminalRestarted(down_ms=150, sync_ms=100)])
        assert (mt5.order_send(BUY), mt5.last_error()[0]) == (None, NOT_WRITTEN)
        assert (mt5.order_send(BUY), mt5.last_error()[0]) == (None, NO_HANDLE)
        with pytest.raises(TerminalError) as broken:
            bystander.ask("positions_total", {})
    assert broken.value.args[0] in (NOT_WRITTEN, LOST)
    assert executions(control) == before
    assert not mt5.initialize(terminal.address, timeout=0)
    assert mt5.last_error()[0] == -10005
    assert mt5.initialize(terminal.address)
    assert mt5.history_deals_total(1_700_000_000, 1_900_000_000) == 0
    wait_for(lambda: mt5.history_deals_total(1_700_000_000, 1_900_000_000) > 0)
    assert mt5.order_send(BUY).request_id == 1


def test_a_lost_link_comes_back_without_a_tick(control: Control) -> None:
    control.happen(LinkLost(ms=100))
    assert not mt5.terminal_info().connected
    assert mt5.order_send(BUY).retcode == 10031
    wait_for(lambda: mt5.terminal_info().connected)
    assert mt5.order_send(BUY).retcode == 10009


def test_a_switched_account_comes_back_by_login(control: Control) -> None:
    control.script("*", [AccountSwitched(login=4711)], op="account_info")
    assert mt5.account_info().login == 4711
    assert mt5.order_send(BUY).retcode == 10017
    assert mt5.login(50001)
    assert mt5.account_info().login == 50001


def test_a_hand_may_be_quicker_than_a_close(control: Control) -> None:
    opened = mt5.order_send(BUY)
    control.script("EURUSD", [ManualClose(ticket=opened.order)])
    close = {**BUY, "type": 1, "position": opened.order}
    assert mt5.order_send(close).retcode == 10036
    assert mt5.positions_get() == ()


def test_chance_shows_what_it_played(control: Control) -> None:
    control.chaos(3, {"reject": 0.5, "manual_trade": 0.5})
    results = [mt5.order_send(BUY).retcode for _ in range(12)]
    played = control.played()[-12:]
    kinds = [{type(fault) for fault in call.faults} for call in played]
    assert sum(Reject in kind for kind in kinds) == sum(code != 10009 for code in results) > 0
    assert sum(ManualTrade in kind for kind in kinds) > 0
    control.clear_faults()
    assert mt5.order_send(BUY).retcode == 10009


def test_what_cannot_be_is_refused_in_words(control: Control) -> None:
    with pytest.raises(ControlRefused, match="no such call: order_sent"):
        control.script("EURUSD", [PipeDead()], op="order_sent")
    with pytest.raises(ControlRefused, match="no such call"):
        control.chaos(1, {"hang@nothing": 0.5})
    with pytest.raises(ControlRefused, match="no position"):
        control.happen(ManualClose(ticket=5))
    with pytest.raises(ControlRefused, match="no such symbol"):
        control.script("NOSUCH", [PipeDead()])


def test_chaos_can_be_on_from_the_start(tmp_path: Path) -> None:
    process = Process(tmp_path / "t.sqlite", "--chaos", "query_failure@positions_get=1.0", "--chaos-seed", "4")
    try:
        mt5.initialize(process.address)
        assert mt5.positions_get() is None
        assert mt5.orders_get() == ()
    finally:
        mt5.shutdown()
        process.kill()
