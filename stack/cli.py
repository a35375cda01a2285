"""The `nexus` command."""

import sys

import typer

from settings import SettingsError
from stack import (
    audit_commands,
    contract_commands,
    drill_commands,
    flight_commands,
    limit_commands,
    preflight_commands,
    reconciliation_commands,
    sim_commands,
    stop_commands,
    trading_commands,
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
app.add_typer(trading_commands.app)
app.add_typer(verification.app)
app.add_typer(preflight_commands.app)
app.add_typer(contract_commands.app, name="contracts")
app.add_typer(limit_commands.app, name="limits")
app.add_typer(stop_commands.app)
app.add_typer(drill_commands.app)
app.add_typer(reconciliation_commands.app)
app.add_typer(reconciliation_commands.discrepancies, name="discrepancies")
app.add_typer(audit_commands.app, name="audit")
app.add_typer(flight_commands.app)
app.add_typer(sim_commands.app, name="sim")
if sys.platform != "win32":
    # The embedded stack needs what Windows lacks; what speaks to a terminal or to books works there too.
    from stack import chaos_commands, demo, stack_commands, user_commands

    app.add_typer(stack_commands.app)
    app.add_typer(demo.app)
    app.add_typer(user_commands.app, name="user")
    app.add_typer(chaos_commands.app)


def main() -> None:
    try:
        app()
    except (StackError, SettingsError) as error:
        sys.exit(f"nexus: {error}")
