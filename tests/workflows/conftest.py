from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from stack.scratch import Database
from tests.desk import Desk, open_desk


@pytest.fixture
async def desk(database: Database, temporal_client: Client, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(database, temporal_client, tmp_path) as desk:
        yield desk


@pytest.fixture
async def unfollowed_desk(database: Database, temporal_client: Client, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk without a feed: what happens at the broker comes into the books by the reconciliation alone."""
    async with open_desk(database, temporal_client, tmp_path, followed=False) as desk:
        yield desk


@pytest.fixture
async def patient_desk(database: Database, temporal_client: Client, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk that takes a minute of quiet before it believes in an absence."""
    async with open_desk(database, temporal_client, tmp_path, quiet=timedelta(minutes=1)) as desk:
        yield desk
