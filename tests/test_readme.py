"""What the README shows of the trade's life, and of the command line, is what the code does."""

import re
from pathlib import Path

from domain.orders import FINAL_STATES, TRANSITIONS
from stack.cli import app

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def test_diagram_shows_every_transition_and_no_other() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+): ([\w ]+)$", README, flags=re.MULTILINE))

    assert drawn == {
        (str(state), str(target), event.replace("_", " "))
        for state, moves in TRANSITIONS.items()
        for event, target in moves.items()
    }


def test_final_states_are_named() -> None:
    sentence = next(line for line in README.splitlines() if "are final" in line)

    assert set(re.findall(r"`(\w+)`", sentence)) == set(FINAL_STATES)


def test_every_command_is_named_and_no_other() -> None:
    listed = README.partition("lists the command line:")[2].partition(". `make help`")[0]
    groups = {group.name for group in app.registered_groups if group.name}
    nested = (group.typer_instance for group in app.registered_groups if not group.name and group.typer_instance)
    commands = {
        command.name or (command.callback.__name__ if command.callback else "")
        for typer in nested
        for command in typer.registered_commands
    }

    assert set(re.findall(r"`([\w-]+)`", listed)) == groups | commands
