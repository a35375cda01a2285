"""`nexus user`: who may enter, changed in the database itself, since it must work when nobody can log in."""

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from db.users import NewUser, Role, User, add_user, find_credentials, list_users, set_enabled, set_password_hash
from stack.books import actor, books
from stack.errors import StackError
from stack.options import StateDirOption, state_folder
from stack.rest import DEMO_TRADER, DEMO_TRADER_SECRET
from stack.secret_files import SecretFiles
from stack.seeding import hash_password, make_password

NameArgument = Annotated[str, typer.Argument(help="The user's name.")]

app = typer.Typer(help="Add users, list them, set their passwords, shut them out.", no_args_is_help=True)


@app.command()
def add(
    name: NameArgument,
    role: Annotated[Role, typer.Option(help="What the user may do.")] = Role.TRADER,
    state_dir: StateDirOption = None,
) -> None:
    """Add a user and show the generated password, this once."""
    password = make_password()
    new = NewUser(id=uuid4(), username=name, password_hash=hash_password(password), role=role)

    async def run() -> bool:
        async with books(state_folder(state_dir)) as connection:
            return await add_user(connection, new, actor=actor())

    if not asyncio.run(run()):
        raise StackError(f"there is already a user {name}")
    Console().print(f"added {role} {name}, password {password}", highlight=False, soft_wrap=True)


@app.command("list")
def list_all(state_dir: StateDirOption = None) -> None:
    """List all users."""

    async def run() -> tuple[User, ...]:
        async with books(state_folder(state_dir)) as connection:
            return await list_users(connection)

    table = Table("name", "role", "may enter", "since")
    for user in asyncio.run(run()):
        table.add_row(
            user.username, user.role, "yes" if user.enabled else "no", f"{user.created_at:%Y-%m-%d %H:%M}"
        )
    Console().print(table)


@app.command()
def password(name: NameArgument, state_dir: StateDirOption = None) -> None:
    """Set a new generated password and show it, this once."""
    state = state_folder(state_dir)
    made = make_password()

    async def run() -> None:
        async with books(state) as connection:
            user = await _find(connection, name)
            await set_password_hash(connection, user.id, hash_password(made), actor=actor())

    asyncio.run(run())
    demo_trader = SecretFiles(state.secrets)
    if name == DEMO_TRADER and demo_trader.read(DEMO_TRADER_SECRET) is not None:
        # The other commands log in with it.
        demo_trader.write(DEMO_TRADER_SECRET, made)
    Console().print(f"the password of {name} is now {made}", highlight=False, soft_wrap=True)


@app.command()
def disable(name: NameArgument, state_dir: StateDirOption = None) -> None:
    """Shut a user out, from their next request on."""
    asyncio.run(_set_enabled(name, state_dir, enabled=False))
    Console().print(f"{name} may no longer enter", highlight=False)


@app.command()
def enable(name: NameArgument, state_dir: StateDirOption = None) -> None:
    """Let a user in again."""
    asyncio.run(_set_enabled(name, state_dir, enabled=True))
    Console().print(f"{name} may enter", highlight=False)


async def _set_enabled(name: str, state_dir: Path | None, *, enabled: bool) -> None:
    async with books(state_folder(state_dir)) as connection:
        user = await _find(connection, name)
        await set_enabled(connection, user.id, enabled=enabled, actor=actor())


async def _find(connection: AsyncConnection, name: str) -> User:
    found = await find_credentials(connection, name)
    if found is None:
        raise StackError(f"there is no user {name}")
    return found[0]
