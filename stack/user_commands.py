"""`nexus user`: who may enter and how. Changed in the database itself: it must work when nobody can log in."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.api_keys import list_keys, revoke_key
from db.factors import count_recovery_codes, list_factors, reset_factors
from db.login_tries import open_door
from db.sessions import EndCause, end_session, end_sessions, list_sessions
from db.users import NewUser, Role, User, add_user, find_credentials, list_users, set_enabled, set_password_hash
from stack.books import actor, books
from stack.errors import StackError
from stack.options import StateDirOption, state_folder
from stack.rest import DEMO_TRADER, DEMO_TRADER_SECRET
from stack.secret_files import SecretFiles
from stack.seeding import hash_password, make_password
from stack.show import screen

NameArgument = Annotated[str, typer.Argument(help="The user's name.")]

app = typer.Typer(
    help="Add users, list them, set their passwords, end their sessions, shut them out.", no_args_is_help=True
)


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
    """Set a new generated password and show it, this once; the user's sessions end."""
    state = state_folder(state_dir)
    made = make_password()

    async def run() -> None:
        async with books(state) as connection:
            user = await _find(connection, name)
            await set_password_hash(connection, user.id, hash_password(made), actor=actor())
            await end_sessions(connection, user.id, cause=EndCause.PASSWORD, actor=actor())

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


@app.command()
def unlock(name: NameArgument, state_dir: StateDirOption = None) -> None:
    """Let a user try to log in again at once, after too many tries that failed."""

    async def run() -> None:
        async with books(state_folder(state_dir)) as connection:
            user = await _find(connection, name)
            await open_door(connection, user.id, username=name, actor=actor())

    asyncio.run(run())
    Console().print(f"{name} may try to log in again", highlight=False)


@app.command()
def sessions(name: NameArgument, state_dir: StateDirOption = None) -> None:
    """List the sessions of a user that go on."""

    async def run() -> list[dict[str, Any]]:
        async with books(state_folder(state_dir)) as connection:
            return await list_sessions(connection, (await _find(connection, name)).id)

    table = Table("session", "from", "program", "began", "last renewed", "proven by")
    for row in asyncio.run(run()):
        told = (str(row["id"]), row["address"], row["agent"], _instant(row["began_at"]))
        table.add_row(*(Text(part) for part in (*told, _instant(row["refreshed_at"]), row["proven_by"])))
    screen().print(table)


@app.command("end-sessions")
def end_all_sessions(
    name: NameArgument,
    session: Annotated[UUID | None, typer.Option(help="End this one alone.")] = None,
    state_dir: StateDirOption = None,
) -> None:
    """End all sessions of a user, or one of them, from its next request on."""

    async def run() -> int:
        async with books(state_folder(state_dir)) as connection:
            user = await _find(connection, name)
            if session is None:
                return await end_sessions(connection, user.id, cause=EndCause.ENDED, actor=actor())
            return await end_session(connection, user.id, session, cause=EndCause.ENDED, actor=actor())

    ended = asyncio.run(run())
    if session is not None and not ended:
        raise StackError(f"{name} has no session {session} that goes on; see `nexus user sessions {name}`")
    Console().print(f"ended sessions of {name}: {int(ended)}", highlight=False)


@app.command()
def factors(name: NameArgument, state_dir: StateDirOption = None) -> None:
    """List the second factors of a user."""

    async def run() -> tuple[list[dict[str, Any]], int]:
        async with books(state_folder(state_dir)) as connection:
            user = await _find(connection, name)
            return await list_factors(connection, user.id), await count_recovery_codes(connection, user.id)

    found, codes = asyncio.run(run())
    table = Table("factor", "kind", "label", "since", "last used")
    for row in found:
        used = "-" if row["used_at"] is None else _instant(row["used_at"])
        told = (str(row["id"]), row["kind"], row["label"], _instant(row["confirmed_at"]), used)
        table.add_row(*(Text(part) for part in told))
    screen().print(table)
    Console().print(f"recovery codes left: {codes}", highlight=False)


@app.command("reset-factors")
def reset_all_factors(name: NameArgument, state_dir: StateDirOption = None) -> None:
    """Remove all second factors of a user who has lost them; their sessions end."""

    async def run() -> int:
        async with books(state_folder(state_dir)) as connection:
            user = await _find(connection, name)
            await end_sessions(connection, user.id, cause=EndCause.FACTORS, actor=actor())
            return await reset_factors(connection, user.id, actor=actor())

    count = asyncio.run(run())
    Console().print(f"removed factors of {name}: {count}; their password alone lets them in", highlight=False)


@app.command()
def keys(name: NameArgument, state_dir: StateDirOption = None) -> None:
    """List the API keys of a user that live."""

    async def run() -> list[dict[str, Any]]:
        async with books(state_folder(state_dir)) as connection:
            return await list_keys(connection, (await _find(connection, name)).id)

    table = Table("key", "name", "scopes", "from", "until", "last used")
    for row in asyncio.run(run()):
        used = "-" if row["last_used_at"] is None else f"{_instant(row['last_used_at'])} {row['last_address']}"
        networks = ", ".join(map(str, row["networks"])) or "anywhere"
        told = (str(row["id"]), row["name"], ", ".join(row["scopes"]), networks, _instant(row["expires_at"]), used)
        table.add_row(*(Text(part) for part in told))
    screen().print(table)


@app.command("revoke-key")
def revoke_one_key(
    name: NameArgument,
    key: Annotated[UUID, typer.Argument(help="Its id, as `nexus user keys` shows it.")],
    state_dir: StateDirOption = None,
) -> None:
    """Revoke an API key of a user, from its next request on."""

    async def run() -> bool:
        async with books(state_folder(state_dir)) as connection:
            user = await _find(connection, name)
            return await revoke_key(connection, user.id, key, actor=actor())

    if not asyncio.run(run()):
        raise StackError(f"{name} has no API key {key}; see `nexus user keys {name}`")
    Console().print(f"revoked API key {key} of {name}", highlight=False)


async def _set_enabled(name: str, state_dir: Path | None, *, enabled: bool) -> None:
    async with books(state_folder(state_dir)) as connection:
        user = await _find(connection, name)
        await set_enabled(connection, user.id, enabled=enabled, actor=actor())
        if not enabled:
            await end_sessions(connection, user.id, cause=EndCause.DISABLED, actor=actor())


def _instant(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


async def _find(connection: AsyncConnection, name: str) -> User:
    found = await find_credentials(connection, name)
    if found is None:
        raise StackError(f"there is no user {name}")
    return found[0]
