"""The options that several commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from stack.environment import ClientSettings, StackSettings
from stack.errors import StackError
from stack.rest import Caller, find_caller
from stack.state import CHECKOUT, StateFolder

REASON_LETTERS_MIN, REASON_LETTERS_MAX = 3, 500

StateDirOption = Annotated[
    Path | None,
    typer.Option("--state-dir", help="Folder of the stack's state.", show_default=".nexus of the checkout"),
]
AccountOption = Annotated[str | None, typer.Option(help="Slug of the account, where there are several.")]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="Address of the API.", show_default="NEXUS_URL, or the running stack")
]
TokenOption = Annotated[
    str | None,
    typer.Option("--token", help="Bearer token.", show_default="NEXUS_TOKEN, or the demo trader logs in"),
]


def state_folder(given: Path | None) -> StateFolder:
    """The folder that was given, else that of STATE_DIR, else `.nexus` of the checkout."""
    chosen = given or StackSettings.from_environ(os.environ).state_dir or CHECKOUT / ".nexus"
    return StateFolder(chosen.absolute())


def reason_of(given: str) -> str:
    """A reason as the records keep it: one line of a few words."""
    reason = given.strip()
    if not REASON_LETTERS_MIN <= len(reason) <= REASON_LETTERS_MAX or not reason.isprintable():
        raise StackError(f"give a reason of {REASON_LETTERS_MIN} to {REASON_LETTERS_MAX} letters in one line")
    return reason


def caller(state_dir: Path | None, url: str | None, token: str | None) -> Caller:
    settings = ClientSettings.from_environ(os.environ)
    return find_caller(state_folder(state_dir), url=url or settings.url, token=token or settings.token)
