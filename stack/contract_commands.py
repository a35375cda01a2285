"""`nexus contracts`: what the broker changed of its symbols, and a person's word that orders may go by it."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db.accounts import read_account
from db.watch import accept_contract, pending_contracts
from domain.errors import PipelineError
from domain.watch import Pending
from stack.books import actor, books
from stack.errors import StackError
from stack.options import StateDirOption, state_folder
from stack.show import screen

app = typer.Typer(help="List changed contracts, and accept them.")


@app.callback(invoke_without_command=True)
def list_pending(context: typer.Context, state_dir: StateDirOption = None) -> None:
    """List the changes that keep orders from opening; exits with 1 when there are any."""
    if context.invoked_subcommand is not None:
        return
    found = asyncio.run(_pending(state_dir))
    if not found:
        screen().print(Text("No change of a contract waits for a person."))
        return
    table = Table("account", "symbol", "what", "was", "is", "since")
    for change in found:
        told = (change["account"], change["symbol"], change["term"], change["was"], change["shown"] or "gone")
        table.add_row(*told, f"{change['noticed_at']:%Y-%m-%d %H:%M:%S}")
    screen().print(table)
    raise typer.Exit(1)


@app.command()
def accept(
    symbol: Annotated[str, typer.Argument(help="As the broker names it, as EURUSD.")],
    reason: Annotated[str, typer.Option(help="Why the new contract is right; it stays in the audit record.")],
    account: Annotated[str | None, typer.Option(help="Slug of the account, where several have it.")] = None,
    state_dir: StateDirOption = None,
) -> None:
    """Let orders open in the symbol again, as its contract is now."""
    if not reason.strip():
        raise StackError("give a reason")
    for change in asyncio.run(_accept(symbol, reason.strip(), account, state_dir)):
        told = f"{change.symbol}: {change.term} was {change.was}, is {change.shown or 'gone'}"
        Console().print(told, highlight=False, soft_wrap=True)


async def _pending(state_dir: Path | None) -> list[dict[str, Any]]:
    async with books(state_folder(state_dir)) as connection:
        return await pending_contracts(connection)


async def _accept(symbol: str, reason: str, slug: str | None, state_dir: Path | None) -> tuple[Pending, ...]:
    async with books(state_folder(state_dir)) as connection:
        waiting = {change["account"] for change in await pending_contracts(connection, symbol)}
        if slug is None and len(waiting) != 1:
            where = f"on {', '.join(sorted(waiting))}; name one with --account" if waiting else "nowhere"
            raise StackError(f"a change of {symbol} waits {where}")
        try:
            found = await read_account(connection, slug or next(iter(waiting)))
            return await accept_contract(connection, found, symbol, actor=actor(), reason=reason)
        except PipelineError as error:
            raise StackError(str(error)) from error
