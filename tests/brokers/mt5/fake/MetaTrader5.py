"""As much of the package as it takes to hang, to be late, and to fail; a file beside it says which."""

import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

MOOD = Path(os.environ["FAKE_TERMINAL_MOOD"])


class Account(NamedTuple):
    login: int = 7
    server: str = "Fake"
    trade_mode: int = 0
    margin_mode: int = 2


class Terminal(NamedTuple):
    connected: bool = True


def initialize(*_: Any, **__: Any) -> bool:
    return True


def shutdown() -> bool:
    return True


def last_error() -> tuple[int, str]:
    return (-1, "Terminal: Call failed")


def account_info() -> Account | None:
    match MOOD.read_text().split():
        case ["hang"]:
            signal.pause()
        case ["late", seconds]:
            time.sleep(float(seconds))
        case ["fail"]:
            return None
        case ["print"]:
            print("a library that talks", flush=True)  # noqa: T201  # what the test is about
        case ["switched"]:
            return Account(margin_mode=0)
        case _:
            pass
    return Account()


def terminal_info() -> Terminal:
    return Terminal()


def history_deals_total(*_: Any) -> int:
    return 0


def history_deals_get(*_: Any) -> tuple[()]:
    return ()
