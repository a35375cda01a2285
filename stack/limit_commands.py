"""`nexus limits`: the limits in force, the change of one, and every value that they had."""

import asyncio
import re
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db.accounts import find_member
from db.limit_listings import LimitFilter, list_limit_history, list_limits, read_limit
from db.limits import LimitScope, change_limit
from domain.errors import PipelineError
from domain.limits import UNITS, AskedLimit, Authority, LimitName, LimitUnit, Unchanged
from stack.books import actor, books, one_account
from stack.errors import StackError
from stack.options import AccountOption, StateDirOption, reason_of, state_folder
from stack.show import screen

HISTORY_SHOWN_MAX = 200

app = typer.Typer(help="List the limits, change one, and see what they were.", no_args_is_help=True)

_DURATION = re.compile(r"([0-9]{1,5})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


@app.command("list")
def list_in_force(account: AccountOption = None, state_dir: StateDirOption = None) -> None:
    """List the limits in force, and until when those hold that are loosened."""

    async def run() -> list[dict[str, Any]]:
        async with books(state_folder(state_dir)) as connection:
            return await list_limits(connection, LimitFilter(user_id=None, account=account))

    found = asyncio.run(run())
    if not found:
        screen().print(Text("No limit is set, so nothing opens; set them with `nexus limits set`."))
        return
    table = Table("account", "whose", "limit", "value", "until", "then", "set by", "reason")
    for row in found:
        until = "-" if row["expires_at"] is None else _instant(row["expires_at"])
        then = "-" if row["base_value"] is None else _plain(row["base_value"])
        told = (row["account"], _whose(row), row["name"], _value(row), until, then, row["set_by"], row["reason"])
        table.add_row(*(Text(part) for part in told))
    screen().print(table)


@app.command("set")
def set_value(
    name: Annotated[LimitName, typer.Argument(help="Which limit.")],
    value: Annotated[str, typer.Argument(help="The new value; money in the account's currency.")],
    reason: Annotated[str, typer.Option(help="Why; it stays in the history.")],
    account: AccountOption = None,
    user: Annotated[str | None, typer.Option(help="Limit this user alone, not the whole account.")] = None,
    lasts: Annotated[
        str | None, typer.Option("--for", help="How long a loosening holds, as 30m, 8h or 2d.", show_default="24h")
    ] = None,
    permanent: Annotated[bool, typer.Option("--permanent", help="Loosen for good.")] = False,
    state_dir: StateDirOption = None,
) -> None:
    """Change a limit: tighter until it is changed again, looser for a time."""
    asked = AskedLimit(
        name=name,
        value=_decimal(value),
        reason=reason_of(reason),
        lasts=None if lasts is None else _duration(lasts),
        permanent=permanent,
        # Whoever reaches the database as its owner may change everything in it.
        authority=Authority.FOR_GOOD,
    )
    changed, row = asyncio.run(_set(asked, account, user, state_dir))
    whose = f"{row['account']}, {_whose(row)}: {name}"
    told = f"{whose} is {_value(row)}" if changed else f"{whose} is {_value(row)} already; nothing was changed"
    if row["expires_at"] is not None:
        told += f", until {_instant(row['expires_at'])}, then {_plain(row['base_value'])} again"
    Console().print(told, highlight=False, soft_wrap=True, markup=False)


@app.command()
def history(
    name: Annotated[LimitName | None, typer.Argument(help="Which limit; all of them if it is left out.")] = None,
    account: AccountOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List the values that limits had, the newest first."""

    async def run() -> list[dict[str, Any]]:
        async with books(state_folder(state_dir)) as connection:
            wanted = LimitFilter(user_id=None, account=account, name=name)
            return await list_limit_history(connection, wanted, limit=HISTORY_SHOWN_MAX, before=None)

    found = asyncio.run(run())
    if not found:
        screen().print(Text("No such limit was ever set."))
        return
    table = Table("set at", "account", "whose", "limit", "value", "until", "set by", "reason")
    for row in found:
        ends = [at for at in (row["expires_at"], row["superseded_at"]) if at is not None]
        until = _instant(min(ends)) if ends else "-"
        told = (_instant(row["set_at"]), row["account"], _whose(row), row["name"], _value(row), until)
        table.add_row(*(Text(part) for part in (*told, row["set_by"], row["reason"])))
    screen().print(table)


async def _set(
    asked: AskedLimit, slug: str | None, username: str | None, state_dir: Path | None
) -> tuple[bool, dict[str, Any]]:
    """Whether anything was changed, and the limit that is in force now."""
    async with books(state_folder(state_dir)) as connection:
        account = await one_account(connection, slug)
        user_id = None if username is None else await find_member(connection, account.id, username)
        if username is not None and user_id is None:
            raise StackError(f"{username} does not trade on account {account.slug}; name a user who does")
        unit = UNITS[asked.name]
        currency = account.currency if unit is LimitUnit.MONEY else None
        scope = LimitScope(account_id=account.id, user_id=user_id, unit=unit, currency=currency)
        try:
            change = await change_limit(connection, scope, asked, actor=actor())
        except PipelineError as error:
            raise StackError(str(error)) from error
        row = await read_limit(connection, account=account.slug, name=asked.name, username=username)
        return not isinstance(change, Unchanged), row


def _decimal(given: str) -> Decimal:
    try:
        return Decimal(given)
    except InvalidOperation as error:
        raise StackError(f"{given!r} is no number; give the value as 500 or 0.5") from error


def _duration(given: str) -> timedelta:
    found = _DURATION.fullmatch(given)
    if found is None:
        raise StackError(f"--for is {given!r}, which is no time; give it as 30m, 8h or 2d")
    return int(found[1]) * _UNITS[found[2]]


def _value(row: dict[str, Any]) -> str:
    return f"{_plain(row['value'])} {row['currency'] or row['unit']}"


def _plain(value: Decimal) -> str:
    return format(value, "f")


def _whose(row: dict[str, Any]) -> str:
    return row["username"] or "whole account"


def _instant(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
