"""How a worker starts, and what it leaves behind where it must not."""

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client

from domain.errors import BrokerMismatch
from settings import BrokerSettings, SettingsError
from stack.scratch import Database
from tests.brokers.terminals import LOGIN, SERVER, simulated_terminal
from tests.db.books import open_books
from worker import run_broker
from workflows.feed import workflow_id
from workflows.reconciliation_messages import schedule_id


def settings_of(database: Database, client: Client, path: str, folder: Path, **variables: str) -> BrokerSettings:
    return BrokerSettings.from_environ(
        {
            "DATABASE_URL": database.urls["broker"],
            "TEMPORAL_ADDRESS": client.service_client.config.target_host,
            "BROKER_ACCOUNT": "demo",
            "MT5_TERMINAL": "simulated",
            "MT5_PATH": path,
            "MT5_LOGIN": str(LOGIN),
            "MT5_SERVER": SERVER,
            "STATE_DIR": str(folder),
            **variables,
        }
    )


async def end_watching(client: Client) -> None:
    """End what a worker leaves running for the next one: the account's feed and its schedule."""
    await client.get_schedule_handle(schedule_id("demo")).delete()
    await client.get_workflow_handle(workflow_id("demo")).terminate()


async def test_a_worker_whose_terminal_shows_another_account_says_so_in_the_books_and_ends(
    database: Database, temporal_client: Client, tmp_path: Path
) -> None:
    async with open_books(database) as books:
        with simulated_terminal(tmp_path) as path:
            settings = settings_of(database, temporal_client, path, tmp_path, MT5_LOGIN="4711")
            with pytest.raises(BrokerMismatch, match="does not log in to 4711"):
                await run_broker(settings, asyncio.Event())

        assert await books.rows("SELECT kind FROM account_conditions") == [{"kind": "account_mismatch"}]
        (alert,) = await books.rows("SELECT kind, severity, summary FROM alerts")
        assert (alert["kind"], alert["severity"]) == ("account_mismatch", "critical")
        assert "does not log in to 4711" in alert["summary"]


async def test_a_points_threshold_for_a_symbol_that_nobody_lists_stops_the_worker(
    database: Database, temporal_client: Client, tmp_path: Path
) -> None:
    async with open_books(database) as books:
        with simulated_terminal(tmp_path) as path:
            points = "EURUSD=20,EURUDS=20"
            settings = settings_of(database, temporal_client, path, tmp_path, SLIPPAGE_THRESHOLD_POINTS=points)
            with pytest.raises(SettingsError, match="SLIPPAGE_THRESHOLD_POINTS names EURUDS, which"):
                await run_broker(settings, asyncio.Event())
        assert await books.scalar("SELECT count(*) FROM alerts WHERE kind = 'contract_changed'") == 0


async def test_what_changed_while_no_worker_ran_is_noticed_at_the_next_start(
    database: Database, temporal_client: Client, tmp_path: Path
) -> None:
    async with open_books(database) as books:
        await books.run("UPDATE instruments SET contract_size = 10 WHERE symbol = 'EURUSD'")
        stopping = asyncio.Event()
        stopping.set()
        with simulated_terminal(tmp_path) as path:
            await run_broker(settings_of(database, temporal_client, path, tmp_path), stopping)
        await end_watching(temporal_client)

        waiting = await books.rows("SELECT symbol, term, was, shown FROM contract_changes")
        assert waiting == [{"symbol": "EURUSD", "term": "contract_size", "was": "10", "shown": "100000"}]
