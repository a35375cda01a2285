from collections.abc import AsyncIterator

import pytest

from stack.scratch import Database
from tests.db.books import Books, open_books


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    """Books with a hedging account and one trader."""
    async with open_books(database) as books:
        yield books
