"""How a command reaches a terminal as its worker does."""

import os

from settings import BrokerSettings, TerminalKind
from stack.demo_account import ACCOUNT, TERMINAL_LOGIN, TERMINAL_SERVER, TERMINAL_ZONE
from stack.errors import StackError
from stack.secret_files import SecretFiles
from stack.state import StateFolder


def broker_settings(state: StateFolder) -> BrokerSettings:
    """Those of the worker's environment, else those of the running stack's worker."""
    environ = os.environ
    if environ.get("MT5_LOGIN") or environ.get("MT5_LOGIN_FILE"):
        return BrokerSettings.from_environ(environ)
    running = state.running()
    if running is None:
        raise StackError(
            f"MT5_LOGIN is not set, and no stack runs on {state.root}; set the variables of the broker worker"
        )
    return BrokerSettings.from_environ(
        {
            "DATABASE_URL_FILE": running.urls.database_owner_file,
            "BROKER_ACCOUNT": ACCOUNT,
            "MT5_TERMINAL": TerminalKind.SIMULATED,
            "MT5_PATH": f"127.0.0.1:{running.ports['the simulated terminal']}",
            "MT5_LOGIN": str(TERMINAL_LOGIN),
            "MT5_SERVER": TERMINAL_SERVER,
            "MT5_SERVER_ZONE": TERMINAL_ZONE,
            "MT5_PASSWORD_FILE": str(SecretFiles(state.secrets).path("terminal_password")),
            "STATE_DIR": str(state.root),
        }
    )
