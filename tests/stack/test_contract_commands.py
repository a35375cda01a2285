"""`nexus contracts` shows what waits for a person, and takes that person's word."""

import asyncio
import getpass
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest
from click.testing import Result
from typer.testing import CliRunner

from db import watch
from stack.cli import app
from stack.scratch import Database
from tests.db.books import Books, open_books
from tests.factories import NOW, make_instrument


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    """Books in which the contract of EURUSD has changed."""
    async with open_books(database) as books:
        changed = replace(make_instrument(), contract_size=Decimal(1000))
        async with books.broker.begin() as connection:
            await watch.see_instruments(connection, books.account, [changed], read_at=NOW, actor="test")
        yield books


async def contracts(books: Books, *words: str) -> Result:
    environment = {"DATABASE_URL": books.database.urls["owner"]}
    # The command runs a loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, app, ["contracts", *words], env=environment)


async def test_a_change_is_listed_accepted_by_name_and_gone(books: Books) -> None:
    listed = await contracts(books)
    assert listed.exit_code == 1
    for told in ("demo", "EURUSD", "contract_size", "100000", "1000"):
        assert told in listed.output

    accepted = await contracts(books, "accept", "EURUSD", "--reason", "announced by the broker")
    assert (accepted.exit_code, accepted.output) == (0, "EURUSD: contract_size was 100000, is 1000\n")
    (audited,) = await books.rows("SELECT actor, detail FROM audit_log WHERE action = 'contract.accepted'")
    assert audited["actor"] == f"command:{getpass.getuser()}"
    assert audited["detail"]["reason"] == "announced by the broker"

    empty = await contracts(books)
    assert (empty.exit_code, empty.output) == (0, "No change of a contract waits for a person.\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("XAUUSD", "--reason", "x"), "a change of XAUUSD waits nowhere"),
        (("XAUUSD", "--reason", "x", "--account", "demo"), "no change of XAUUSD on account demo waits"),
        (("EURUSD", "--reason", "x", "--account", "nowhere"), "there is no account 'nowhere'"),
        (("EURUSD", "--reason", "  "), "give a reason"),
    ],
)
async def test_what_does_not_wait_is_not_accepted(books: Books, words: tuple[str, ...], complaint: str) -> None:
    refused = await contracts(books, "accept", *words)

    assert refused.exit_code == 1
    assert complaint in str(refused.exception)
    assert len(await books.rows("SELECT 1 FROM contract_changes")) == 1
