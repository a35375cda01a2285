"""`nexus preflight` against a simulated terminal of its own: what it sees, sends, leaves, and refuses."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from brokers.mt5.preflight.orders import MAGIC_COUNT, MAGIC_MIN
from brokers.simulator.control import Control
from brokers.simulator.faults import (
    AccountSwitched,
    AnswerLost,
    Delay,
    Fault,
    Hang,
    Outcome,
    Reject,
    TransportFault,
)
from domain.magics import MAGIC_MIN as TRADES_MAGIC_MIN
from stack.cli import app
from stack.errors import StackError
from stack.secret_files import SecretFiles
from stack.state import RunningStack, StateFolder, Urls
from tests.brokers.terminals import LOGIN, SERVER, ZONE, mt5_broker, simulated_terminal
from tests.waiting import until

Preflight = Callable[..., Result]

TRADING_CHECKS = range(11, 22)
DEADLINE_MS = 400


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with simulated_terminal(tmp_path, "--tick-interval-ms", "20") as address:
        yield address


@pytest.fixture
def control(address: str) -> Iterator[Control]:
    host, _, port = address.rpartition(":")
    with Control(host, int(port)) as control:
        yield control


@pytest.fixture
def environ(address: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": "postgresql://nobody@localhost/nowhere",
        "MT5_TERMINAL": "simulated",
        "MT5_PATH": address,
        "MT5_LOGIN": str(LOGIN),
        "MT5_SERVER": SERVER,
        "MT5_SERVER_ZONE": ZONE,
        "MT5_CALL_DEADLINE_MS": str(DEADLINE_MS),
        "STATE_DIR": str(tmp_path),
    }


@pytest.fixture
def preflight(environ: dict[str, str]) -> Preflight:
    def run(*words: str, **changes: str) -> Result:
        words = ("preflight", "--tick-seconds", "1", *words)
        return CliRunner().invoke(app, words, env=environ | changes, catch_exceptions=False)

    return run


def document(result: Result) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def verdicts(result: Result) -> dict[int, str]:
    return {check["number"]: check["verdict"] for check in document(result)["checks"]}


def check(result: Result, name: str) -> dict[str, Any]:
    (found,) = [each for each in document(result)["checks"] if each["name"] == name]
    return dict(found)


def test_a_demo_account_is_read_traded_and_left_as_it_was(preflight: Preflight, control: Control) -> None:
    result = preflight("--json")

    assert result.exit_code == 0
    assert set(verdicts(result).values()) == {"ok"}
    books = control.books()
    opening, closing = [deal for deal in books.deals if deal.symbol == "EURUSD"]
    assert (closing.magic, closing.position_id) == (opening.magic, opening.position_id)
    assert MAGIC_MIN <= opening.magic < MAGIC_MIN + 2 * MAGIC_COUNT < TRADES_MAGIC_MIN
    assert books.positions == ()
    assert control.counts() == {opening.magic: 1}
    assert sorted({send.magic for send in books.sends}) == [0, opening.magic, opening.magic + 1]
    card = document(result)["card"]
    assert (card["account"], card["server"], card["mode"], card["margin_mode"]) == (
        LOGIN,
        SERVER,
        "demo",
        "hedging",
    )
    assert (card["symbol"]["volume_min"], card["left"], card["verdict"]) == (0.01, [], "passed")


def test_a_person_reads_one_line_for_each_check_and_the_card(preflight: Preflight) -> None:
    result = preflight("--read-only")

    assert result.exit_code == 0
    numbers = [line.split(".")[0].strip() for line in result.stdout.splitlines() if line[2:3] == "."]
    assert numbers == [str(number) for number in range(1, 22)]
    assert result.stdout.endswith("passed, nothing was sent\n")


def test_read_only_sends_nothing(preflight: Preflight, control: Control) -> None:
    result = preflight("--read-only", "--json")

    assert result.exit_code == 0
    assert {verdicts(result)[number] for number in TRADING_CHECKS} == {"skipped"}
    assert control.books().sends == ()


def test_to_a_real_account_nothing_is_sent_and_a_line_says_so(preflight: Preflight, control: Control) -> None:
    control.happen(AccountSwitched(login=777, server="Broker-Live", trade_mode=2))

    result = preflight("--json", MT5_LOGIN="777", MT5_SERVER="Broker-Live")

    assert check(result, "account")["seen"] == "777 at Broker-Live, real, hedging"
    assert check(result, "market order")["seen"] == "account 777 is a real account, so nothing is sent to it"
    assert check(result, "symbol")["verdict"] == "ok"
    assert {verdicts(result)[number] for number in TRADING_CHECKS} == {"skipped"}
    assert control.books().sends == ()


def test_algo_trading_that_is_off_is_named_with_its_mend(preflight: Preflight, control: Control) -> None:
    control.set_switches(trade_allowed=False, tradeapi_disabled=True)

    result = preflight("--json")

    assert result.exit_code == 1
    found = check(result, "algo trading")
    assert (found["verdict"], found["seen"]) == ("failed", "algo trading off, python trading off")
    assert "press the Algo Trading button" in found["mend"]
    assert "Disable automated trading via the external Python API" in found["mend"]
    assert control.books().sends == ()


def test_a_wrong_login_ends_the_readings(preflight: Preflight, control: Control) -> None:
    result = preflight("--json", MT5_LOGIN="50002")

    assert result.exit_code == 1
    found = check(result, "account")
    assert found["seen"].startswith(f"the terminal shows {LOGIN} at {SERVER}, configured is 50002 at {SERVER}")
    assert "Authorization failed" in found["seen"]
    assert set(verdicts(result).values()) == {"ok", "failed", "skipped"}
    assert control.books().sends == ()


def test_a_stale_market_is_told_and_not_traded(preflight: Preflight, control: Control) -> None:
    control.hold_market()

    result = preflight("--json")

    assert result.exit_code == 1
    assert check(result, "fresh tick")["verdict"] == "failed"
    assert check(result, "server clock")["verdict"] == "skipped"
    assert check(result, "market order")["seen"] == "fresh tick failed"
    assert control.books().sends == ()


def test_a_zone_that_is_not_the_servers_is_told(preflight: Preflight) -> None:
    result = preflight("--json", MT5_SERVER_ZONE="Asia/Tokyo")

    assert result.exit_code == 1
    assert "correct MT5_SERVER_ZONE" in check(result, "server clock")["mend"]


def test_a_symbol_of_another_name_is_offered(preflight: Preflight) -> None:
    result = preflight("--json", "--symbol", "EURUSD.m")

    assert result.exit_code == 1
    assert "EURUSD" in check(result, "symbol")["mend"]


def test_without_a_terminal_the_first_check_says_so(preflight: Preflight) -> None:
    result = preflight("--json", MT5_PATH="127.0.0.1:1")

    assert result.exit_code == 1
    assert check(result, "terminal")["verdict"] == "failed"
    assert list(verdicts(result).values()).count("skipped") == 20


@pytest.mark.parametrize("fault", [Hang(executed=True), AnswerLost(executed=True)])
def test_an_order_whose_answer_never_came_is_found_and_closed(
    fault: TransportFault, preflight: Preflight, control: Control
) -> None:
    control.script("EURUSD", [fault])

    result = preflight("--json")

    assert result.exit_code == 1
    assert check(result, "market order")["verdict"] == "failed"
    assert list(control.counts().values()) == [1]
    books = control.books()
    assert (books.positions, document(result)["card"]["left"]) == ((), [])


def test_what_cannot_be_closed_is_named(preflight: Preflight, control: Control) -> None:
    turns: list[Fault | list[Fault]] = [[], *[Reject(retcode=10018) for _ in range(9)]]
    control.script("EURUSD", turns)

    result = preflight("--json")

    assert result.exit_code == 1
    (position,) = control.books().positions
    assert f"position {position.ticket} in EURUSD" in document(result)["card"]["left"]
    assert check(result, "nothing left")["mend"] == "close and cancel this by hand in the terminal"


@pytest.mark.parametrize("outcome", [Reject(retcode=10016)])
def test_a_stop_that_is_refused_is_left_out_of_a_second_order(
    outcome: Outcome, preflight: Preflight, control: Control
) -> None:
    control.script("EURUSD", [outcome])

    result = preflight("--json")

    assert check(result, "market order")["verdict"] == "ok"
    assert check(result, "stop loss")["seen"].startswith("10016 invalid_stops")
    assert list(control.counts().values()) == [1]
    assert control.books().positions == ()


def test_a_terminal_that_hangs_ends_it_at_the_deadline(preflight: Preflight, control: Control) -> None:
    control.script("*", [Hang(executed=False)], op="positions_get")

    result = preflight("--json")

    assert result.exit_code == 1
    assert f"no answer within {DEADLINE_MS / 1000} s" in check(result, "four lists")["seen"]
    assert check(result, "market order")["verdict"] == "skipped"
    assert control.books().sends == ()


async def test_an_interrupt_leaves_nothing_open(environ: dict[str, str], control: Control) -> None:
    control.script("EURUSD", [Delay(ms=20_000)])
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stack", "preflight"),
        env={**os.environ, **environ, "MT5_CALL_DEADLINE_MS": "20000"},
        stdout=asyncio.subprocess.PIPE,
    )

    async def sent() -> bool:
        return bool(control.books().positions)

    await until(sent, what="the order in flight")
    started.send_signal(signal.SIGINT)
    told, _ = await started.communicate()

    assert started.returncode != 0
    assert b"nothing left           ok" in told
    assert control.books().positions == ()


async def test_it_refuses_while_a_worker_serves_the_account(
    environ: dict[str, str], preflight: Preflight, tmp_path: Path
) -> None:
    worker = mt5_broker(tmp_path, path=environ["MT5_PATH"], lock_file=tmp_path / "terminal-demo.lock")
    try:
        await worker.connect()
        with pytest.raises(StackError, match=rf"account demo is being served.*process {worker.sender_pid}"):
            await asyncio.to_thread(preflight)
        assert (await worker.read_account()).login == LOGIN, "its own process was left alone"
    finally:
        await worker.close()


def test_without_an_environment_and_a_stack_it_says_what_is_missing(tmp_path: Path) -> None:
    words = ["preflight", "--state-dir", str(tmp_path)]
    with pytest.raises(StackError, match="MT5_LOGIN is not set, and no stack runs"):
        CliRunner().invoke(app, words, catch_exceptions=False)


async def test_a_running_stack_is_looked_at_without_an_environment(
    environ: dict[str, str], tmp_path: Path
) -> None:
    state = StateFolder(tmp_path)
    state.make()
    SecretFiles(state.secrets).write("terminal_password", "any")
    SecretFiles(state.secrets).write("database_url_owner", environ["DATABASE_URL"])
    urls = Urls(
        api="", temporal_address="", temporal_ui="", database_owner_file=str(state.secrets / "database_url_owner")
    )
    port = int(environ["MT5_PATH"].rpartition(":")[2])
    with state.locked():
        ports = {"the simulated terminal": port}
        state.write_run_file(RunningStack(pid=os.getpid(), urls=urls, ports=ports, pids={}))
        words = ["preflight", "--json", "--state-dir", str(tmp_path)]
        result = await asyncio.to_thread(CliRunner().invoke, app, words, catch_exceptions=False)

    assert (result.exit_code, document(result)["card"]["account"]) == (0, LOGIN)
    assert (tmp_path / "terminal-demo.lock").exists(), "the lock is that of the stack's own worker"
