"""Runs a command that the kernel ends as soon as its parent is gone, however the parent went.

Executed by path with `python -I -S`, so it may import nothing but the standard library. A thin program takes the
place of `preexec_fn`, which runs Python between fork and exec and is unsafe once the parent has threads.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def tethered(command: tuple[str, ...], *, death_signal: signal.Signals = signal.SIGKILL) -> tuple[str, ...]:
    """The command that runs `command` and sends it `death_signal` when the calling process ends.

    The kernel watches the *thread* that spawns, so spawn from the main thread. Elsewhere than on Linux there is no
    such watch, and the command runs without it.
    """
    return (
        sys.executable,
        "-I",
        "-S",
        str(Path(__file__).resolve()),
        str(int(death_signal)),
        str(os.getpid()),
        *command,
    )


def main() -> None:
    death_signal, parent_pid, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        # The parent may have ended before the watch was set; then nobody would ever end us.
        if os.getppid() != parent_pid:
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - replacing this program is its purpose
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
