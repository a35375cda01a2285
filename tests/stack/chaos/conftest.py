from collections.abc import AsyncIterator
from uuid import NAMESPACE_URL, uuid5

import pytest

from stack.chaos.database import SEARCH_PATH
from stack.chaos.runs import rehearsal_server
from stack.scratch import Database, cloned_database


@pytest.fixture(scope="session")
async def rehearsal_admin_url() -> AsyncIterator[str]:
    """A PostgreSQL server whose template keeps the rehearsal's time."""
    async with rehearsal_server() as admin_url:
        yield admin_url


@pytest.fixture
async def rehearsal_books(rehearsal_admin_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    name = f"rehearsal_{uuid5(NAMESPACE_URL, request.node.nodeid).hex}"
    async with cloned_database(rehearsal_admin_url, name=name, search_path=SEARCH_PATH) as database:
        yield database
