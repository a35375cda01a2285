from collections.abc import AsyncIterator

import pytest

from domain.positions import MarginMode
from stack.scratch import Database
from tests.db.books import Books, open_books


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    """Books with a hedging account and one trader."""
    async with open_books(database) as books:
        yield books


@pytest.fixture
async def netting_books(database: Database) -> AsyncIterator[Books]:
    async with open_books(database, margin_mode=MarginMode.NETTING) as books:
        yield books
