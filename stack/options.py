"""The options that several commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from stack.environment import ClientSettings, StackSettings
from stack.rest import Caller, find_caller
from stack.state import CHECKOUT, StateFolder

StateDirOption = Annotated[
    Path | None,
    typer.Option("--state-dir", help="Folder of the stack's state.", show_default=".nexus of the checkout"),
]
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


def caller(state_dir: Path | None, url: str | None, token: str | None) -> Caller:
    settings = ClientSettings.from_environ(os.environ)
    return find_caller(state_folder(state_dir), url=url or settings.url, token=token or settings.token)
