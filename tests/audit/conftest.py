from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from stack.scratch import Database
from tests.desk import Desk, open_desk


@pytest.fixture
async def desk(database: Database, temporal_client: Client, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(database, temporal_client, tmp_path) as desk:
        yield desk
