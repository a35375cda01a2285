import os
import stat
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.secret_files import SecretFiles
from stack.state import RunningStack, StateFolder, Urls


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / ".nexus")
    state.make()
    return state


def running(pid: int) -> RunningStack:
    urls = Urls(api="http://a", temporal_address="b:1", temporal_ui="http://c", database_owner_file="d")
    return RunningStack(pid=pid, urls=urls, ports={"the API": 1}, pids={"api": 2})


def test_a_second_stack_on_the_folder_is_refused_in_one_line(state: StateFolder) -> None:
    with state.locked(), pytest.raises(StackError, match=rf"already runs on .* \(process {os.getpid()}\)"):  # noqa: SIM117
        with state.locked():
            pass


def test_the_lock_opens_when_its_holder_is_done(state: StateFolder) -> None:
    with state.locked():
        assert state.owner_pid() == os.getpid()
    assert state.owner_pid() is None
    with state.locked():
        assert state.owner_pid() == os.getpid()


def test_a_running_stack_is_found_by_its_file(state: StateFolder) -> None:
    with state.locked():
        state.write_run_file(running(os.getpid()))
        assert state.running() == running(os.getpid())


def test_a_file_left_by_a_killed_stack_is_not_believed(state: StateFolder) -> None:
    state.write_run_file(running(os.getpid()))
    assert state.running() is None
    with state.locked():
        state.write_run_file(running(os.getpid() + 1))
        assert state.running() is None


def test_secrets_are_made_once_and_readable_by_their_user_alone(state: StateFolder) -> None:
    secrets = SecretFiles(state.secrets)
    made = secrets.read_or_make("secret_key")
    assert SecretFiles(state.secrets).read_or_make("secret_key") == made
    assert len(made) >= 32
    assert stat.S_IMODE(secrets.path("secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.secrets.stat().st_mode) == 0o700
