"""The reconciliation from the command line: a run now, what it left to people, and their word on it."""

import asyncio
import getpass
from collections.abc import AsyncIterator
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from click.testing import Result
from temporalio.testing import WorkflowEnvironment
from typer.testing import CliRunner

from brokers.simulator.faults import MoneyBooked
from domain.discrepancies import Decision
from stack.cli import app
from stack.scratch import cloned_database
from tests.desk import Desk, open_desk
from tests.reconciling import discrepancies_of, entered, reconcile, settle
from tests.waiting import free_port, until
from workflows.deciding import put_decision
from workflows.reconciliation_messages import Decide, discrepancy_workflow_id

ME = f"command:{getpass.getuser()}"
UI = "http://temporal.test"


@pytest.fixture(scope="module")
async def shared_desk(
    migrated_template: str, temporal_env: WorkflowEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    async with (
        cloned_database(migrated_template, name=f"commands_{uuid4().hex[:8]}") as database,
        open_desk(database, temporal_env.client, folder) as desk,
    ):
        await reconcile(desk)
        yield desk


@pytest.fixture
async def desk(shared_desk: Desk) -> AsyncIterator[Desk]:
    """A desk whose books agree with the broker, before and after."""
    yield shared_desk
    await settle(shared_desk)


def environment(desk: Desk) -> dict[str, str]:
    return {
        "DATABASE_URL": desk.database.urls["owner"],
        "TEMPORAL_ADDRESS": desk.client.service_client.config.target_host,
        "TEMPORAL_UI_URL": UI,
    }


async def nexus(desk: Desk, *words: str, **other: str) -> Result:
    # The command runs a loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, app, list(words), env={**environment(desk), **other})


async def decide(desk: Desk, found: UUID, decision: str, reason: str = "told by mail", **other: str) -> Result:
    return await nexus(desk, "discrepancies", "decide", str(found), decision, "--reason", reason, **other)


async def unexplained_money(desk: Desk, amount: str = "250") -> UUID:
    """The id of a discrepancy that waits for a person."""
    desk.control.slip_money(amount)
    (waiting,) = (await reconcile(desk)).reviews
    return waiting


def rows(told: Result) -> list[list[str]]:
    """The rows of the tables that were printed."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")] for line in told.output.splitlines() if "│" in line
    ]


async def test_a_run_says_that_books_and_broker_agree_and_where_it_is_seen(desk: Desk) -> None:
    told = await nexus(desk, "reconcile")
    assert told.exit_code == 0
    first, last = told.output.splitlines()
    assert first.startswith(f"{desk.slug}: clean, books and broker agree (")
    assert last.startswith(f"{UI}/namespaces/default/workflows/reconcile-{desk.slug}-command-")


async def test_a_run_names_what_records_explain_and_what_nothing_does(desk: Desk) -> None:
    desk.control.deposit("1000")
    desk.control.slip_money("-250")

    told = await nexus(desk, "reconcile", "--account", desk.slug)

    assert told.exit_code == 1
    assert f"{desk.slug}: review, what differs waits for a person; trading goes on (" in told.output
    (found,) = await discrepancies_of(desk, state="open")
    deposit, balance = rows(told)
    assert deposit[:3] == ["deposit", "1", "1000 USD"]
    assert (balance[0], balance[3:]) == ("balance", ["250.00", "open (review)", str(found["id"])])
    assert Decimal(balance[1]) - Decimal(balance[2]) == 250


async def test_a_run_names_what_waits_though_it_is_in_motion_now(desk: Desk) -> None:
    found = await unexplained_money(desk)
    desk.control.happen(MoneyBooked(money="balance", amount=Decimal(10)))

    told = await nexus(desk, "reconcile")

    assert f"{desk.slug}: review" in told.output
    assert str(found) in told.output


async def test_a_broker_that_cannot_be_read_is_told_and_changes_nothing(desk: Desk) -> None:
    desk.control.set_switches(connected=False)
    told = await nexus(desk, "reconcile")
    desk.control.set_switches(connected=True)
    assert told.exit_code == 1
    assert "inconclusive, nothing was compared" in told.output
    assert "no link to the broker" in told.output


async def test_who_does_not_wait_is_told_where_the_run_goes_on(desk: Desk) -> None:
    told = await nexus(desk, "reconcile", "--wait", "0")
    assert told.exit_code == 1
    assert f"the run of {desk.slug} goes on after 0 s; see {UI}/" in str(told.exception)


async def test_what_waits_is_listed_and_shown_with_what_each_decision_would_do(desk: Desk) -> None:
    found = await unexplained_money(desk)

    listed = await nexus(desk, "discrepancies", "list")
    shown = await nexus(desk, "discrepancies", "show", str(found))

    assert listed.exit_code == 1
    (row,) = rows(listed)
    assert (row[1:3], row[5:]) == ([desk.slug, "balance"], ["250.00", "open (review)", str(found)])
    assert shown.exit_code == 0
    effects = {row[0]: row[1:] for row in rows(shown)}
    assert set(effects) == set(Decision)
    assert effects["accept"][1:] == ["250", "-", "-"]
    assert "is accepted or disputed" in effects["adopt"][0]
    assert f"{UI}/namespaces/default/workflows/{discrepancy_workflow_id(found)}" in shown.output
    for told in ("the broker's", "250.00, so review", "read_at", "is open"):
        assert told in shown.output


async def test_a_decision_is_carried_out_once_in_the_name_of_who_runs_the_command(desk: Desk) -> None:
    found = await unexplained_money(desk)
    unexplained = await entered(desk, "unexplained")

    accepted = await decide(desk, found, "accept")
    again = await decide(desk, found, "accept")

    assert (accepted.exit_code, again.exit_code) == (0, 0)
    assert accepted.output.startswith("balance is accepted: the books take the broker's sum as unexplained")
    assert "(cash 250)" in accepted.output
    assert again.output == "balance is accepted already; nothing was changed\n"
    assert await entered(desk, "unexplained") == [*unexplained, Decimal(-250)]
    (row,) = await discrepancies_of(desk, id=found)
    assert (row["state"], row["decided_by"], row["reason"]) == ("accepted", ME, "told by mail")
    waiting = await nexus(desk, "discrepancies", "list")
    assert (waiting.exit_code, waiting.output) == (0, "Nothing differs that waits for anybody.\n")
    every = await nexus(desk, "discrepancies", "list", "--all", "--account", desk.slug)
    assert (every.exit_code, next(row[-2:] for row in rows(every))) == (0, ["accepted", str(found)])


async def test_what_was_decided_otherwise_is_told_with_who_decided_and_why(desk: Desk) -> None:
    found = await unexplained_money(desk)
    said = Decide(decision=Decision.ACCEPT, decided_by=f"user:{desk.user_id}", reason="a bonus")
    taken = await put_decision(desk.client, found, said, key="the-api")
    await taken.result()

    refused = await decide(desk, found, "dispute")

    assert refused.exit_code == 1
    complaint = str(refused.exception)
    assert f"discrepancy {found} is accepted, u-{desk.slug} decided to accept it: 'a bonus'" in complaint
    assert complaint.endswith("; nothing was changed")
    shown = await nexus(desk, "discrepancies", "show", str(found))
    assert f"is accepted, u-{desk.slug} decided to accept it: 'a bonus'" in shown.output
    assert rows(shown) == []


async def test_a_dispute_changes_nothing_until_the_next_decision(desk: Desk) -> None:
    found = await unexplained_money(desk)
    unexplained = await entered(desk, "unexplained")

    disputed = await decide(desk, found, "dispute", "asked the broker")
    again = await decide(desk, found, "dispute", "asked the broker")

    assert disputed.output.startswith("balance is disputed: nothing changes")
    assert again.output == "balance is disputed already; nothing was changed\n"
    assert await entered(desk, "unexplained") == unexplained
    assert (await decide(desk, found, "accept", "the broker explained")).exit_code == 0


async def test_after_what_stopped_trading_is_decided_the_command_says_how_trading_is_opened(desk: Desk) -> None:
    desk.control.slip_position("EURUSD", "0.10")
    stopped = await nexus(desk, "reconcile")
    assert f"{desk.slug}: stopped, what differs waits for a person, and trading is stopped" in stopped.output
    (found,) = await discrepancies_of(desk, state="open")

    adopted = await decide(desk, found["id"], "adopt")

    assert f"{found['subject']} is adopted: the position is the account's own" in adopted.output
    assert "(lots 0.1)" in adopted.output
    assert f"trading stays stopped until `nexus resume --scope account:{desk.slug} --reason …`" in adopted.output
    resumed = await nexus(desk, "resume", "--scope", f"account:{desk.slug}", "--reason", "adopted", "--abandon")
    assert resumed.exit_code == 0


async def test_a_close_goes_as_an_order_and_the_command_says_so(desk: Desk) -> None:
    ticket = desk.control.slip_position("EURUSD", "0.10")
    (found,) = (await reconcile(desk)).reviews

    closed = await decide(desk, found, "close")

    assert "the close goes as an order of its own; follow it with `nexus trades`" in closed.output

    async def gone() -> bool:
        return ticket not in {position.ticket for position in desk.control.books().positions}

    await until(gone, what="the position to be closed")

    async def agreed() -> bool:
        return (await reconcile(desk)).reviews == () and (await reconcile(desk)).verdict == "clean"

    await until(agreed, what="books that agree")


@pytest.mark.parametrize(
    ("decision", "complaint"),
    [
        ("adopt", "only an open position is adopted; balance is accepted or disputed; nothing was changed"),
        ("close", "the broker shows no open position for balance; nothing was changed"),
    ],
)
async def test_a_decision_that_does_not_fit_is_refused_with_what_fits(
    desk: Desk, decision: str, complaint: str
) -> None:
    found = await unexplained_money(desk)
    refused = await decide(desk, found, decision)
    assert (refused.exit_code, str(refused.exception)) == (1, complaint)
    (row,) = await discrepancies_of(desk, id=found)
    assert (row["state"], row["decision"]) == ("open", None)


async def test_without_temporal_nothing_is_begun_or_decided_and_the_command_says_so(desk: Desk) -> None:
    found = await unexplained_money(desk)
    nowhere = f"127.0.0.1:{free_port()}"
    for told in (
        await nexus(desk, "reconcile", TEMPORAL_ADDRESS=nowhere),
        await decide(desk, found, "accept", TEMPORAL_ADDRESS=nowhere),
    ):
        assert told.exit_code == 1
        assert f"Temporal at {nowhere} does not answer, so nothing was changed" in str(told.exception)
    assert [row["state"] for row in await discrepancies_of(desk, id=found)] == ["open"]
    # What is in the books is shown all the same.
    assert (await nexus(desk, "discrepancies", "show", str(found), TEMPORAL_ADDRESS=nowhere)).exit_code == 0


UNKNOWN = str(UUID(int=7))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("reconcile", "--account", "nowhere"), "there is no account 'nowhere'; name one of desk-"),
        (("discrepancies", "list", "--account", "nowhere"), "there is no account 'nowhere'; name one of desk-"),
        (("discrepancies", "show", "seven"), "'seven' is no id of a discrepancy; `nexus discrepancies list`"),
        (
            ("discrepancies", "show", UNKNOWN),
            f"there is no discrepancy {UNKNOWN}; `nexus discrepancies list --all`",
        ),
        (("discrepancies", "decide", UNKNOWN, "accept", "--reason", "because"), f"no discrepancy {UNKNOWN}"),
        (("discrepancies", "decide", UNKNOWN, "accept", "--reason", "x"), "give a reason of 3 to 500 letters"),
    ],
)
async def test_what_is_wrong_is_one_line_with_its_mend(
    shared_desk: Desk, words: tuple[str, ...], complaint: str
) -> None:
    refused = await nexus(shared_desk, *words)
    assert refused.exit_code == 1
    assert complaint in str(refused.exception)
    assert "\n" not in str(refused.exception)
