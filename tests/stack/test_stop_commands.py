"""The stop from the command line, whichever of books, Temporal and terminal is there."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import text
from typer.testing import CliRunner

from brokers.simulator.control import Control
from brokers.simulator.market import Side
from stack.cli import app
from stack.scratch import Database
from stack.state import CHECKOUT
from tests.db.books import Books, open_books
from tests.desk import LOGIN, PASSWORD, SERVER, ZONE, Terminal
from tests.waiting import free_port


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    async with open_books(database) as books:
        yield books


async def nexus(*words: str, **environment: str) -> Result:
    """The command with nothing else in its environment; it runs a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, list(words), env=environment)


def away(books: Books) -> dict[str, str]:
    """The books are there, and Temporal is not."""
    return {"DATABASE_URL": books.database.urls["owner"], "TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}"}


async def test_the_latch_is_set_while_temporal_is_away_and_the_command_says_so(books: Books) -> None:
    told = await nexus("stop", "--flatten", "--reason", "get out", "--wait", "0", **away(books))

    assert told.exit_code == 1
    assert "latched after" in told.output
    assert "Temporal is away" in told.output
    assert await books.scalar("SELECT state FROM trading_control WHERE scope = 'all'") == "halted"
    listed = await nexus("stops", **away(books))
    assert "get out" in listed.output


async def test_without_books_and_temporal_it_says_that_nothing_was_stopped(books: Books) -> None:
    nowhere = {
        "DATABASE_URL": f"postgresql://nobody:nothing@127.0.0.1:{free_port()}/none",
        "TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    told = await nexus("stop", "--reason", "get out", **nowhere)
    assert told.exit_code == 1
    assert "NOTHING WAS STOPPED" in told.output
    assert "--terminal" in told.output


@pytest.mark.parametrize(
    ("words", "mend"),
    [
        (("--scope", "everything"), "account:SLUG"),
        (("--scope", "account"), "account:SLUG"),
        (("--scope", "account:dmeo"), "there is no account 'dmeo'"),
        (("--scope", "user:nobody"), "there is no user 'nobody'"),
        (("--terminal", "--scope", "account:demo"), "leave out --scope"),
    ],
)
async def test_a_slip_of_the_pen_stops_nothing_and_says_so(
    books: Books, words: tuple[str, ...], mend: str
) -> None:
    told = await nexus("stop", "--reason", "a slip", *words, **away(books))
    assert told.exit_code == 1
    assert mend in str(told.exception)
    assert await books.scalar("SELECT count(*) FROM emergency_stops") == 0


async def test_trading_is_opened_again_once_the_stop_has_done_its_work(books: Books) -> None:
    place = ("--scope", "symbol:EURUSD")
    await nexus("stop", "--reason", "a test", "--wait", "0", *place, **away(books))

    early = await nexus("resume", "--reason", "goes on", *place, **away(books))
    assert "still closes positions" in str(early.exception)
    done = await nexus("resume", "--reason", "goes on", "--abandon", *place, **away(books))
    assert (done.exit_code, "open again" in done.output) == (0, True)
    again = await nexus("resume", "--reason", "goes on", *place, **away(books))
    assert "not stopped" in str(again.exception)


async def test_a_cause_that_lasts_keeps_trading_stopped(books: Books) -> None:
    await nexus("stop", "--reason", "a test", "--wait", "0", "--scope", "account:demo", **away(books))
    async with books.owner.begin() as connection:
        await connection.execute(text("ALTER TABLE emergency_stops DISABLE TRIGGER guard"))
        await connection.execute(text("UPDATE emergency_stops SET cause = 'link_lost', ended_at = now()"))
        await connection.execute(
            text(
                "INSERT INTO account_conditions (account_id, kind, message, alert_key)"
                " VALUES (:id, 'broker_disconnected', 'no link', 'k')"
            ),
            {"id": books.account.id},
        )
    refused = await nexus("resume", "--reason", "goes on", "--scope", "account:demo", **away(books))
    assert "no link" in str(refused.exception)


async def test_at_the_terminal_itself_what_is_ours_ends_and_what_is_not_is_named(tmp_path: Path) -> None:
    terminal = Terminal(port=free_port(), state=tmp_path / "terminal.sqlite", options=("--margin-mode", "hedging"))
    await terminal.start()
    try:
        with Control("127.0.0.1", terminal.port) as control:
            by_hand = control.manual_trade("EURUSD", Side.BUY, "0.05")
            environment = {
                "DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none",
                "MT5_TERMINAL": "simulated",
                "MT5_PATH": terminal.path,
                "MT5_LOGIN": str(LOGIN),
                "MT5_PASSWORD": PASSWORD,
                "MT5_SERVER": SERVER,
                "MT5_SERVER_ZONE": str(ZONE),
                "STATE_DIR": str(tmp_path),
            }
            flatten = ("stop", "--terminal", "--flatten")
            ours_alone = await nexus(*flatten, "--reason", "books are gone", **environment)
            assert (ours_alone.exit_code, len(control.books().positions)) == (0, 1)
            assert f"left alone: position {by_hand}" in ours_alone.output
            assert "the latch is NOT set" in ours_alone.output

            everything = await nexus(*flatten, "--include-external", "--reason", "all of it", **environment)
            assert (everything.exit_code, control.books().positions) == (0, ())
            assert "flat: the terminal shows nothing left" in everything.output
    finally:
        await terminal.stop()


@pytest.mark.e2e
async def test_a_drill_measures_the_stop_on_a_running_stack_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(5)]
    names = ("postgres", "temporal", "temporal-ui", "simulator", "api")
    flags = [word for name, port in zip(names, ports, strict=True) for word in (f"--{name}-port", str(port))]
    up = await create_subprocess_exec(
        *(sys.executable, "-m", "stack", "up", "--state-dir", str(tmp_path), *flags),
        cwd=CHECKOUT,
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        assert up.stdout is not None
        async for line in up.stdout:
            if b"Ctrl-C ends the stack" in line:
                break
        told = await _run("drill", "--positions", "3", "--rounds", "1", "--state-dir", str(tmp_path))
        assert "flat" in told
        (kept,) = (tmp_path / "drills.jsonl").read_text().splitlines()
        drill = json.loads(kept)
        assert drill["positions"] == 3
        assert 0 < drill["latch_ms"] <= drill["in_force_ms"] <= drill["flat_ms"]
        filled = await _run("trade", "buy", "0.01", "EURUSD", "--state-dir", str(tmp_path))
        assert "filled" in filled, "trading goes on"
        refused = await _run("drill", "--rounds", "1", "--state-dir", str(tmp_path))
        assert "is open" in refused
    finally:
        up.terminate()
        await up.communicate()


async def _run(*words: str) -> str:
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "stack", *words), cwd=CHECKOUT, stdout=PIPE, stderr=STDOUT, env=dict(os.environ)
    )
    output, _ = await process.communicate()
    return output.decode()
