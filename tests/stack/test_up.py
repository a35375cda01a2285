"""The whole stack as a person runs it: started, used, ended, killed, and started again."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process, create_subprocess_exec, create_subprocess_shell
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.waiting import free_port, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc"),
]

CHECKOUT = Path(__file__).resolve().parents[2]
PORT_FLAGS = ("--postgres-port", "--temporal-port", "--temporal-ui-port", "--simulator-port", "--api-port")
START_SECONDS = 60.0
END_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Up:
    """A running `nexus up` and what it has printed."""

    process: Process
    state: Path
    screen: Path

    def curl_line(self) -> str | None:
        return next((line for line in self.screen.read_text().splitlines() if line.startswith("curl ")), None)

    async def is_ready_or_ended(self) -> bool:
        return self.curl_line() is not None or self.process.returncode is not None

    async def is_ending(self) -> bool:
        return "\nending " in self.screen.read_text()

    def pid_of(self, name: str) -> int:
        pid: int = json.loads((self.state / "run.json").read_text())["pids"][name]
        return pid

    async def end(self, end_signal: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(end_signal)
        return await asyncio.wait_for(self.process.wait(), END_SECONDS)


def free_ports() -> list[str]:
    return [word for flag in PORT_FLAGS for word in (flag, str(free_port()))]


@asynccontextmanager
async def up(state: Path, *, ports: Sequence[str] | None = None) -> AsyncIterator[Up]:
    """A stack on the folder that is ready; ended at the latest when the block is left.

    `ports` are those of an earlier start: a terminal at another address is another terminal to a lease.
    """
    screen = state.with_name("screen.txt")
    ports = ports or free_ports()
    with screen.open("wb") as output:
        process = await create_subprocess_exec(
            *(sys.executable, "-m", "stack", "up", "--state-dir", str(state), *ports),
            cwd=CHECKOUT,
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
        )
    started = Up(process=process, state=state, screen=screen)
    try:
        await until(started.is_ready_or_ended, what="the stack", timeout_seconds=START_SECONDS, poll_seconds=0.1)
        assert process.returncode is None, screen.read_text()
        yield started
    finally:
        if process.returncode is None:
            await started.end()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def send_first_trade(started: Up) -> tuple[int, dict[str, object]]:
    """Run the printed line in a shell; the status and the body of the answer."""
    line = started.curl_line()
    assert line is not None
    shell = await create_subprocess_shell(line, stdout=PIPE)
    output, _ = await shell.communicate()
    body, _, status = output.decode().rstrip().rpartition("\n")
    return int(status), json.loads(body)


async def nexus(*words: str, state: Path) -> tuple[int, str]:
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "stack", *words, "--state-dir", str(state)),
        cwd=CHECKOUT,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def left_running(state: Path) -> list[str]:
    """Command lines of the live processes that were given the folder by word or by environment."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(state).encode() in told:
            found.append(told.partition(b"\0\0")[0].replace(b"\0", b" ").decode(errors="replace")[:200])
    return found


async def test_the_printed_line_fills_a_trade_before_and_after_a_restart(state: Path) -> None:
    ports = free_ports()
    async with up(state, ports=ports) as first:
        status, body = await send_first_trade(first)
        assert (status, body["state"]) == (201, "filled")
        assert "Shown this once" in first.screen.read_text()
        assert await first.end() == 0
    assert left_running(state) == []

    async with up(state, ports=ports) as second:
        assert "Shown this once" not in second.screen.read_text()
        status, body = await send_first_trade(second)
        assert (status, body["state"]) == (201, "filled")
        code, listed = await nexus("trades", state=state)
        assert code == 0
        assert listed.count("filled") >= 2
        code, laws = await nexus("verify", state=state)
        assert code == 0, laws
        assert await second.end(signal.SIGTERM) == 0
    assert left_running(state) == []


async def test_a_second_start_on_the_folder_is_refused_and_down_ends_the_first(state: Path) -> None:
    async with up(state) as started:
        code, said = await nexus("up", state=state)
        assert code == 1
        assert said == (
            f"nexus: a stack already runs on {state} (process {started.process.pid}); end it with `nexus down`\n"
        )
        code, said = await nexus("status", state=state)
        assert code == 0, said
        code, said = await nexus("down", state=state)
        assert (code, said) == (0, f"the stack on {state} has ended\n")
        assert await started.process.wait() == 0
    assert left_running(state) == []


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("pipeline", "the pipeline worker"),
        pytest.param("api", "the API", marks=pytest.mark.long),
        pytest.param("temporal", "Temporal", marks=pytest.mark.long),
        pytest.param("postgres", "PostgreSQL", marks=pytest.mark.long),
    ],
)
async def test_a_killed_program_ends_the_stack_with_its_name_and_the_next_start_works(
    state: Path, name: str, title: str
) -> None:
    ports = free_ports()
    async with up(state, ports=ports) as started:
        os.kill(started.pid_of(name), signal.SIGKILL)
        assert await asyncio.wait_for(started.process.wait(), END_SECONDS) == 1
        assert f"nexus: {title} ended (killed by SIGKILL); its last line: " in started.screen.read_text()
    assert left_running(state) == []

    async with up(state, ports=ports) as again:
        status, body = await send_first_trade(again)
        assert (status, body["state"]) == (201, "filled")


async def test_a_second_signal_kills_what_has_not_ended_yet(state: Path) -> None:
    async with up(state) as started:
        # Two signals at once may arrive as one, so the second waits for the effect of the first.
        started.process.send_signal(signal.SIGINT)
        await until(started.is_ending, what="the end to begin", poll_seconds=0.005)
        assert await started.end() == 1
        assert "nexus: killed before all had ended in order" in started.screen.read_text()
    assert left_running(state) == []


async def test_a_killed_launcher_takes_everything_with_it(state: Path) -> None:
    async with up(state) as started:
        started.process.kill()
        await started.process.wait()

        async def gone() -> bool:
            return left_running(state) == []

        await until(gone, what="all programs to end", timeout_seconds=10)
