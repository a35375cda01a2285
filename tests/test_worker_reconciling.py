"""A sender that takes its account up has it reconciled: before anything is opened, and from then on."""

import asyncio
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client, ScheduleOverlapPolicy

from stack.scratch import Database
from tests.brokers.terminals import simulated_terminal
from tests.db.books import Books, open_books
from tests.desk import pipeline_worker
from tests.test_worker import end_watching, settings_of
from tests.waiting import until
from worker import run_broker
from workflows.reconciliation_messages import schedule_id
from workflows.reconciliation_schedule import keep_schedule


async def test_nothing_is_opened_before_the_first_run_has_read_the_account(
    database: Database, temporal_client: Client, tmp_path: Path
) -> None:
    async with open_books(database) as books:
        stopping = asyncio.Event()
        with simulated_terminal(tmp_path) as path:
            settings = settings_of(database, temporal_client, path, tmp_path)
            serving = asyncio.create_task(run_broker(settings, stopping))
            await until(lambda: _waits(books), what="the account to wait for a run")
            async with pipeline_worker(database, temporal_client):
                await until(lambda: _ran(books), what="the first run")
            stopping.set()
            await serving
        await end_watching(temporal_client)

        assert await books.scalar("SELECT unreconciled_since FROM broker_accounts") is None
        of_start = "SELECT report FROM reconciliation_log WHERE cause = 'startup'"
        (run,) = await books.rows(of_start)
        assert run["report"] == {"away_since": None, "happened": run["report"]["happened"], "needs_person": False}


async def test_the_schedule_is_made_once_and_takes_the_newest_interval(temporal_client: Client) -> None:
    for seconds in (60, 120):
        await keep_schedule(temporal_client, "kept", interval=timedelta(seconds=seconds))
    handle = temporal_client.get_schedule_handle(schedule_id("kept"))
    schedule = (await handle.describe()).schedule
    await handle.delete()

    assert [interval.every for interval in schedule.spec.intervals] == [timedelta(seconds=120)]
    assert schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert schedule.policy.catchup_window <= timedelta(minutes=1)


async def _waits(books: Books) -> bool:
    return bool(await books.scalar("SELECT unreconciled_since IS NOT NULL FROM broker_accounts"))


async def _ran(books: Books) -> bool:
    return bool(await books.scalar("SELECT count(*) FROM reconciliation_log"))
