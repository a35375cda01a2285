"""The `nexus` command."""

import sys

import typer

from settings import SettingsError
from stack import (
    chaos_commands,
    contract_commands,
    demo,
    sim_commands,
    stack_commands,
    trading_commands,
    user_commands,
    verification,
)
from stack.errors import StackError

app = typer.Typer(
    name="nexus",
    help="Trades over REST, carried to their end as durable workflows against MetaTrader 5.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(stack_commands.app)
app.add_typer(trading_commands.app)
app.add_typer(verification.app)
app.add_typer(demo.app)
app.add_typer(user_commands.app, name="user")
app.add_typer(contract_commands.app, name="contracts")
app.add_typer(sim_commands.app, name="sim")
app.add_typer(chaos_commands.app)


def main() -> None:
    try:
        app()
    except (StackError, SettingsError) as error:
        sys.exit(f"nexus: {error}")
