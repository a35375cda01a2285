"""`nexus limits` shows what is in force, changes it as the owner, and shows what it was."""

import asyncio
import getpass
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from click.testing import Result
from typer.testing import CliRunner

from domain.limits import LimitName
from stack.cli import app
from stack.scratch import Database
from tests.db.books import Books, open_books


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    async with open_books(database) as books:
        await books.limit(LimitName.DAILY_LOSS, 500)
        yield books


async def limits(books: Books, *words: str) -> Result:
    environment = {"DATABASE_URL": books.database.urls["owner"]}
    # The command runs a loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, app, ["limits", *words], env=environment)


def cells(listed: Result, name: str) -> list[list[str]]:
    """The rows of a table that tell of the limit."""
    rows = [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in listed.output.splitlines()]
    return [row for row in rows if name in row]


async def test_a_tightening_is_listed_with_who_set_it_and_why(books: Books) -> None:
    told = await limits(books, "set", "daily_loss", "400", "--reason", "a bad week")
    assert (told.exit_code, told.output) == (0, "demo, whole account: daily_loss is 400 USD\n")

    (row,) = cells(await limits(books, "list"), "daily_loss")
    set_by = f"command:{getpass.getuser()}"
    assert row == ["demo", "whole account", "daily_loss", "400 USD", "-", "-", set_by, "a bad week"]


async def test_a_loosening_says_when_it_ends_and_what_holds_then(books: Books) -> None:
    told = await limits(books, "set", "daily_loss", "800", "--reason", "release", "--for", "8h")
    assert told.output.startswith("demo, whole account: daily_loss is 800 USD, until ")
    assert told.output.endswith(", then 500 again\n")
    spans = (
        "SELECT extract(epoch FROM expires_at - created_at) / 3600 FROM risk_limits WHERE expires_at IS NOT NULL"
    )
    assert await books.scalar(spans) == 8

    again = await limits(books, "set", "daily_loss", "800", "--reason", "release", "--for", "8h")
    assert "already; nothing was changed" in again.output
    (row,) = cells(await limits(books, "list"), "daily_loss")
    assert (row[3], row[5]) == ("800 USD", "500")


async def test_for_good_is_said_out_loud(books: Books) -> None:
    told = await limits(books, "set", "daily_loss", "800", "--reason", "grown", "--permanent")

    assert told.output == "demo, whole account: daily_loss is 800 USD\n"
    in_force = "SELECT value FROM risk_limits WHERE name = 'daily_loss' AND superseded_at IS NULL"
    assert await books.scalar(in_force) == Decimal(800)


async def test_a_users_limit_stands_beside_the_accounts(books: Books) -> None:
    told = await limits(books, "set", "open_orders", "3", "--user", "trader", "--reason", "a new bot")
    assert told.output == "demo, trader: open_orders is 3 count\n"

    assert [row[1] for row in cells(await limits(books, "list"), "open_orders")] == ["whole account", "trader"]


async def test_the_history_is_the_newest_first_with_when_each_ended(books: Books) -> None:
    await limits(books, "set", "daily_loss", "400", "--reason", "a bad week")
    rows = cells(await limits(books, "history", "daily_loss"), "daily_loss")

    assert [row[4] for row in rows] == ["400 USD", "500 USD", "1000000 USD"]
    assert [row[5] == "-" for row in rows] == [True, False, False]
    assert cells(await limits(books, "history", "daily_loss"), "open_orders") == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("many",), "'many' is no number; give the value as 500 or 0.5"),
        (("NaN",), "give a number of money from 0 to"),
        (("400", "--account", "nowhere"), "there is no account 'nowhere'; name one of demo"),
        (("400", "--user", "nobody"), "nobody does not trade on account demo; name a user who does"),
        (("400", "--for", "8h"), "stands until it is changed; leave the time out"),
        (("800", "--for", "soon"), "--for is 'soon', which is no time; give it as 30m, 8h or 2d"),
        (("800", "--for", "31d"), "for 30 days at most; name a shorter time"),
        (("800", "--for", "99999d"), "for 30 days at most; name a shorter time"),
        (("800", "--for", "1h", "--permanent"), "say one of the two"),
        (("400", "--reason", " x "), "give a reason of 3 to 500 letters in one line"),
    ],
)
async def test_what_is_wrong_is_one_line_with_its_mend(
    books: Books, words: tuple[str, ...], complaint: str
) -> None:
    count = await books.scalar("SELECT count(*) FROM risk_limits")
    refused = await limits(books, "set", "daily_loss", "--reason", "because", *words)

    assert refused.exit_code == 1
    assert complaint in str(refused.exception)
    assert "\n" not in str(refused.exception)
    assert await books.scalar("SELECT count(*) FROM risk_limits") == count
