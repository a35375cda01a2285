"""The child and its kills, against a terminal that hangs, is late, or talks on request."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brokers.mt5.process import Link, TerminalProcess
from brokers.mt5.sender import CallFailed, SenderLost
from brokers.mt5.session import Pin
from brokers.mt5.turns import Lane
from domain.errors import BrokerUnavailable
from tests.waiting import until

FAKE = Path(__file__).parent / "fake"
DEADLINE = timedelta(seconds=0.4)
DEALS = {"since": 1, "until": 2, "most": 10}

Mood = Callable[[str], None]


@pytest.fixture
def mood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mood:
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.setenv("FAKE_TERMINAL_MOOD", str(tmp_path / "mood"))

    def become(what: str) -> None:
        (tmp_path / "mood").write_text(what)

    become("well")
    return become


def link(folder: Path, *, lease_number: int = 1, call_deadline: timedelta = DEADLINE) -> Link:
    return Link(
        kind="native",
        path=None,
        pin=Pin(login=7, server="Fake"),
        password=None,
        lock_file=folder / "terminal.lock",
        lease_number=lease_number,
        call_deadline=call_deadline,
        connect_deadline=timedelta(seconds=10),
    )


@pytest.fixture
async def terminal(tmp_path: Path, mood: Mood) -> AsyncIterator[TerminalProcess]:
    process = TerminalProcess(link(tmp_path))
    await process.call("account", {}, lane=Lane.READ)
    yield process
    await process.close()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_hung_call_is_killed_at_its_deadline_and_the_next_one_works(
    terminal: TerminalProcess, mood: Mood
) -> None:
    hung = terminal.pid
    assert hung is not None
    mood("hang")
    began = time.monotonic()
    with pytest.raises(SenderLost) as lost:
        await terminal.call("account", {}, lane=Lane.READ)
    assert DEADLINE.total_seconds() <= time.monotonic() - began < DEADLINE.total_seconds() + 0.3
    assert gone(hung)
    assert not lost.value.announced
    assert lost.value.ended_at is not None
    mood("well")
    answer = await terminal.call("account", {}, lane=Lane.READ)
    assert answer.content["account"]["login"] == 7
    assert terminal.pid != hung


async def test_a_late_answer_never_reaches_the_next_call(terminal: TerminalProcess, mood: Mood) -> None:
    mood(f"late {DEADLINE.total_seconds() + 0.05}")
    with pytest.raises(SenderLost):
        await terminal.call("account", {}, lane=Lane.READ)
    mood("well")
    for _ in range(5):
        answer = await terminal.call("deals", DEALS, lane=Lane.READ)
        assert answer.content == {"deals": []}


async def test_a_caller_that_goes_away_leaves_the_call_to_its_end(terminal: TerminalProcess, mood: Mood) -> None:
    pid = terminal.pid
    mood("late 0.2")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await terminal.call("account", {}, lane=Lane.READ)
    mood("well")
    answer = await terminal.call("deals", DEALS, lane=Lane.READ)
    assert answer.content == {"deals": []}
    assert terminal.pid == pid


async def test_a_read_that_keeps_a_send_waiting_is_killed(tmp_path: Path, mood: Mood) -> None:
    process = TerminalProcess(link(tmp_path, call_deadline=timedelta(seconds=20)))
    await process.call("account", {}, lane=Lane.READ)
    mood("hang")
    reading = asyncio.create_task(process.call("account", {}, lane=Lane.READ))
    began = time.monotonic()
    await asyncio.sleep(0)
    mood_after_kill = asyncio.get_running_loop().call_later(0.1, mood, "well")
    answer = await process.call("deals", DEALS, lane=Lane.STOP)
    assert answer.content == {"deals": []}
    assert time.monotonic() - began < 5
    with pytest.raises(SenderLost):
        await reading
    mood_after_kill.cancel()
    await process.close()


async def test_a_failed_question_is_told_apart_from_an_empty_answer(terminal: TerminalProcess, mood: Mood) -> None:
    mood("fail")
    with pytest.raises(CallFailed) as failed:
        await terminal.call("account", {}, lane=Lane.READ)
    assert (failed.value.fault, failed.value.code) == ("terminal", -1)


async def test_an_account_whose_margin_mode_changed_is_refused_by_every_later_child(
    terminal: TerminalProcess, mood: Mood
) -> None:
    mood("switched")
    for _ in range(2):
        with pytest.raises(CallFailed, match="margin_mode 0, expected is 2") as failed:
            await terminal.call("account", {}, lane=Lane.READ)
        assert failed.value.fault == "mismatch"
        await terminal.retire()


async def test_what_a_library_prints_does_not_fall_between_the_answers(
    terminal: TerminalProcess, mood: Mood
) -> None:
    mood("print")
    for _ in range(3):
        answer = await terminal.call("account", {}, lane=Lane.READ)
        assert answer.content["account"]["login"] == 7


async def test_a_defect_in_the_child_is_reported_and_survived(terminal: TerminalProcess) -> None:
    with pytest.raises(CallFailed, match="KeyError") as failed:
        await terminal.call("no such operation", {}, lane=Lane.READ)
    assert failed.value.fault == "defect"
    assert (await terminal.call("deals", DEALS, lane=Lane.READ)).content == {"deals": []}


async def test_retiring_proves_the_child_dead(terminal: TerminalProcess) -> None:
    pid = terminal.pid
    assert pid is not None
    before = datetime.now(UTC)
    ended_at = await terminal.retire()
    assert gone(pid)
    assert terminal.pid is None
    assert before < ended_at <= datetime.now(UTC)


async def test_a_newer_lease_takes_the_terminal_from_an_older_child(
    terminal: TerminalProcess, tmp_path: Path
) -> None:
    older = terminal.pid
    assert older is not None
    newer = TerminalProcess(link(tmp_path, lease_number=2))
    await newer.call("account", {}, lane=Lane.READ)
    await until(lambda: asyncio.to_thread(gone_or_zombie, older), what="the older child's end")
    with pytest.raises(CallFailed, match="newer lease 2"):
        await terminal.call("account", {}, lane=Lane.READ)
    with pytest.raises(BrokerUnavailable, match="newer lease 2"):
        await terminal.retire()
    await newer.close()


async def test_the_child_dies_with_its_parent(tmp_path: Path, mood: Mood) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from brokers.mt5.turns import Lane\n"
        "from tests.brokers.mt5.test_process import TerminalProcess, link\n"
        "async def main():\n"
        "    process = TerminalProcess(link(Path(sys.argv[1])))\n"
        "    await process.call('account', {}, lane=Lane.READ)\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    paths = os.pathsep.join((str(FAKE), str(Path.cwd())))
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert not gone_or_zombie(child)
    parent.kill()
    await parent.communicate()
    await until(lambda: asyncio.to_thread(gone_or_zombie, child), what="the child's end")


def gone_or_zombie(pid: int) -> bool:
    """Dead as far as the terminal is concerned; only its parent can take the entry off the list."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
