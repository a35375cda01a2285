import asyncio
import io
import os
import signal
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.logs import Foreground
from stack.supervisor import Program, Supervisor, prints
from tests.waiting import until

CHECKOUT = Path(__file__).resolve().parents[2]
SERVES = "import time; print('ready', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVES}"
WITH_GRANDCHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SERVES!r}]); {SERVES}"

# A supervisor in a process of its own, so that it can be killed; it prints the pids of its children.
SUPERVISOR_PROCESS = """
import asyncio, sys
from pathlib import Path
from stack.logs import Foreground
from stack.supervisor import Supervisor
from tests.stack.test_supervisor import SERVES, program

async def main(folder):
    async with Supervisor(logs=folder, foreground=Foreground(stderr=True)) as supervisor:
        await supervisor.start(program(folder, "first", SERVES))
        await supervisor.start(program(folder, "second", SERVES))
        print(*supervisor.pids.values(), flush=True)
        await supervisor.watch()

asyncio.run(main(Path(sys.argv[1])))
"""


def program(folder: Path, name: str, code: str, **settings: float) -> Program:
    return Program(
        name=name,
        title=f"the {name} program",
        command=(sys.executable, "-c", code),
        environ={"PATH": os.defpath},
        folder=folder,
        ready=prints("ready"),
        **settings,
    )


async def supervise(supervisor: Supervisor, *programs: Program) -> None:
    async with supervisor:
        for each in programs:
            await supervisor.start(each)
        await supervisor.watch()


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(tmp_path: Path, screen: io.StringIO) -> Supervisor:
    return Supervisor(logs=tmp_path, foreground=Foreground(file=screen, width=200))


async def test_a_program_that_dies_ends_all_with_one_line_that_names_it(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    dying = "import sys, time; print('ready', flush=True); time.sleep(0.2); print('disk is full'); sys.exit(3)"
    with pytest.raises(StackError) as caught:
        await supervise(supervisor, program(tmp_path, "first", SERVES), program(tmp_path, "dying", dying))
    assert str(caught.value) == "the dying program ended (exit status 3); its last line: disk is full"
    assert [pid for pid in supervisor.pids.values() if _is_running(pid)] == []


async def test_a_program_that_dies_while_it_starts_is_named_with_its_last_line(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    with pytest.raises(
        StackError, match=r"the broken program ended \(exit status 1\); its last line: no such port"
    ):
        async with supervisor:
            await supervisor.start(program(tmp_path, "broken", "import sys; sys.exit('no such port')"))


async def test_an_earlier_program_that_dies_ends_the_start_of_a_later_one(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    first = program(tmp_path, "first", "import time; print('ready'); time.sleep(0.3)")
    with pytest.raises(StackError, match="the first program ended"):
        await supervise(supervisor, first, program(tmp_path, "silent", "import time; time.sleep(600)"))


async def test_a_program_that_never_gets_ready_is_given_up(supervisor: Supervisor, tmp_path: Path) -> None:
    silent = program(tmp_path, "silent", "import time; time.sleep(600)", ready_within_seconds=0.2)
    with pytest.raises(
        StackError, match=r"the silent program was not ready within 0 s; its last line: it printed"
    ):
        await supervise(supervisor, silent)


async def test_a_missing_program_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    missing = Program(
        name="missing",
        title="the missing program",
        command=("/nowhere/missing",),
        environ={},
        folder=tmp_path,
        ready=prints("ready"),
    )
    with pytest.raises(StackError, match="/nowhere/missing cannot be started: No such file or directory"):
        async with supervisor:
            await supervisor.start(missing)


async def test_a_program_that_ignores_the_polite_signal_is_killed(
    supervisor: Supervisor, tmp_path: Path, screen: io.StringIO
) -> None:
    async with supervisor:
        await supervisor.start(program(tmp_path, "stubborn", STUBBORN, stop_within_seconds=0.2))
        pids = supervisor.pids
    assert not _is_running(pids["stubborn"])
    assert "the stubborn program did not end and is killed" in screen.getvalue()


async def test_children_of_a_program_end_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    async with supervisor:
        await supervisor.start(program(tmp_path, "parent", WITH_GRANDCHILD))
        group = supervisor.pids["parent"]
    await until(lambda: _is_gone(group), what="the group to end", timeout_seconds=5)


async def test_programs_end_in_reverse_order(supervisor: Supervisor, tmp_path: Path, screen: io.StringIO) -> None:
    async with supervisor:
        for name in ("first", "second"):
            await supervisor.start(program(tmp_path, name, SERVES))
    shown = screen.getvalue()
    assert shown.index("ending the second program") < shown.index("ending the first program")


async def test_a_run_to_the_end_that_fails_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    async with supervisor:
        await supervisor.run(program(tmp_path, "good", "print('done')"))
        with pytest.raises(StackError, match=r"the bad program ended \(exit status 4\)"):
            await supervisor.run(program(tmp_path, "bad", "import sys; sys.exit(4)"))


async def test_output_is_shown_with_the_name_and_kept_in_a_file(
    supervisor: Supervisor, tmp_path: Path, screen: io.StringIO
) -> None:
    async with supervisor:
        await supervisor.run(program(tmp_path, "speaker", "print('one'); print('two [not markup]')"))
    assert "  speaker | two [not markup]" in screen.getvalue()
    assert (tmp_path / "speaker.log").read_text() == "one\ntwo [not markup]\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
async def test_programs_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    supervisor = await create_subprocess_exec(
        *(sys.executable, "-c", SUPERVISOR_PROCESS, str(tmp_path)), cwd=CHECKOUT, stdout=PIPE
    )
    assert supervisor.stdout is not None
    pids = [int(word) for word in (await supervisor.stdout.readline()).split()]
    assert [_is_running(pid) for pid in pids] == [True, True]

    os.kill(supervisor.pid, signal.SIGKILL)
    await supervisor.wait()
    for pid in pids:
        await until(lambda pid=pid: _has_ended(pid), what=f"process {pid} to end", timeout_seconds=5)


async def _has_ended(pid: int) -> bool:
    return not _is_running(pid)


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


async def _is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    await asyncio.sleep(0)
    return False
