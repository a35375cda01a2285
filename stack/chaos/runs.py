"""Many seeds on all cores: each chunk of them on books of its own, cloned for it and dropped after it."""

import asyncio
import logging
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import asynccontextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path

from stack.chaos.database import CLOCK, SEARCH_PATH
from stack.chaos.rehearsal import Outcome, rehearse
from stack.chaos.verdicts import Fault
from stack.scratch import cloned_database, make_template, running_postgres

# Books of so few trades that checking all laws after each run stays cheap.
CHUNK = 25


@asynccontextmanager
async def rehearsal_server() -> AsyncIterator[str]:
    """A PostgreSQL server with the template of a rehearsal's books; yields the superuser's URL."""
    async with running_postgres() as admin_url:
        await make_template(admin_url, before_migrations=CLOCK)
        yield admin_url


async def play(admin_url: str, seeds: Sequence[int], *, traced: bool = False) -> list[Outcome]:
    """One seed after the other; unless `traced`, only what broke keeps its trace."""
    outcomes = []
    broken: set[str] = set()
    name = f"chaos_{os.getpid()}_{seeds[0]}"
    async with cloned_database(admin_url, name=name, search_path=SEARCH_PATH) as database:
        for seed in seeds:
            outcome = await rehearse(seed, database, broken_before=broken)
            broken |= {v.what for v in outcome.violations if v.fault is Fault.LAW}
            outcomes.append(outcome if traced or outcome.violations else replace(outcome, trace=()))
    return outcomes


async def play_all(admin_url: str, seeds: Sequence[int], *, jobs: int) -> AsyncIterator[Outcome]:
    """The outcomes as they come, in no order."""
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(_play_chunk, admin_url, chunk) for chunk in chunks}
        done = as_completed(futures)
        try:
            while (finished := await loop.run_in_executor(None, next, done, None)) is not None:
                for outcome in finished.result():
                    yield outcome
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _play_chunk(admin_url: str, seeds: Sequence[int]) -> list[Outcome]:
    # What the workers would log of each fault is the run's very purpose; a breach tells itself by its trace.
    logging.disable(logging.CRITICAL)
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        return asyncio.run(play(admin_url, seeds))


def cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
