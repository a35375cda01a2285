"""One desk for a module of traps: each test leaves the broker as it found it, but for its own trades."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from temporalio.testing import WorkflowEnvironment

from stack.chaos.database import SEARCH_PATH
from stack.chaos.runs import rehearsal_server
from stack.scratch import Database, cloned_database
from tests.db.books import Books, open_books
from tests.desk import Desk, open_desk


@pytest.fixture(scope="module")
async def shared_desk(
    migrated_template: str, temporal_env: WorkflowEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    async with (
        cloned_database(migrated_template, name=f"traps_{uuid4().hex[:8]}") as database,
        open_desk(database, temporal_env.client, folder) as desk,
    ):
        yield desk


@pytest.fixture(scope="module")
async def rehearsal_books() -> AsyncIterator[Database]:
    """Books for rehearsals on a virtual clock, on a server of their own."""
    async with (
        rehearsal_server() as admin_url,
        cloned_database(admin_url, name="traps", search_path=SEARCH_PATH) as database,
    ):
        yield database


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    async with open_books(database) as books:
        yield books
