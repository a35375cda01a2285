"""What the database itself refuses when a transaction commits: entries and allocations that do not add up."""

import pytest
from sqlalchemy.exc import DBAPIError

from tests.db.books import Books
from tests.factories import make_fill

_ACCOUNT = (
    "INSERT INTO ledger_accounts (account_id, code, currency) VALUES (:account, :code, :currency) RETURNING id"
)
_ENTRY = """
    INSERT INTO ledger_entries (event_id, line, ledger_account_id, currency, amount, description)
    SELECT CAST(:event AS uuid), v.line, l.id, l.currency, v.amount, 'test'
    FROM (VALUES (1, 'cash', CAST(:first AS numeric)), (2, 'income', CAST(:second AS numeric)))
        AS v(line, code, amount)
    JOIN ledger_accounts l ON l.code = v.code
"""
_SHORT_FILL = """
    WITH f AS (
        INSERT INTO fills (account_id, ticket, revision, content_hash, broker_order_id, position_id, magic, symbol,
            side, kind, entry, reason, volume, price, commission, swap, fee, profit, currency, comment,
            executed_at, source)
        VALUES (:account, 1, 1, 'x', 1, 1, 0, 'EURUSD', 'buy', 'trade', 'in', 'client', 0.10, 1.1, -0.35, 0, 0, 0,
            'USD', '', now(), 'feed')
        RETURNING id
    )
    INSERT INTO fill_allocations (fill_id, line, owner, role, volume, profit, commission, swap, fee)
    SELECT id, 1, 'external', 'open', CAST(:volume AS numeric), 0, CAST(:commission AS numeric), 0, 0 FROM f
"""


async def make_accounts(books: Books, *, second: str) -> None:
    await books.run(_ACCOUNT, account=books.account.id, code="cash", currency="USD")
    await books.run(_ACCOUNT, account=books.account.id, code="income", currency=second)


async def post(books: Books, first: str, second: str) -> None:
    event = "00000000-0000-4000-8000-000000000009"
    await books.run(_ENTRY, role="broker", event=event, first=first, second=second)


async def test_entries_that_sum_to_zero_commit(books: Books) -> None:
    await make_accounts(books, second="USD")
    await post(books, "10.00", "-10.00")
    assert await books.scalar("SELECT count(*) FROM ledger_entries") == 2


async def test_entries_that_are_a_cent_off_are_refused_at_commit(books: Books) -> None:
    await make_accounts(books, second="USD")
    with pytest.raises(DBAPIError, match=r"off by 0\.01 USD"):
        await post(books, "10.00", "-9.99")
    assert await books.scalar("SELECT count(*) FROM ledger_entries") == 0


async def test_currencies_do_not_balance_each_other(books: Books) -> None:
    await make_accounts(books, second="EUR")
    with pytest.raises(DBAPIError, match="off by"):
        await post(books, "10.00", "-10.00")


async def test_an_event_is_posted_once(books: Books) -> None:
    await make_accounts(books, second="USD")
    await post(books, "10.00", "-10.00")
    with pytest.raises(DBAPIError, match="pk_ledger_entries"):
        await post(books, "10.00", "-10.00")


@pytest.mark.parametrize(("volume", "commission"), [("0.09", "-0.35"), ("0.11", "-0.35"), ("0.10", "-0.34")])
async def test_a_fill_that_is_not_allocated_in_full_is_refused_at_commit(
    books: Books, volume: str, commission: str
) -> None:
    with pytest.raises(DBAPIError, match="not allocated in full"):
        await books.run(_SHORT_FILL, role="broker", account=books.account.id, volume=volume, commission=commission)
    assert await books.scalar("SELECT count(*) FROM fills") == 0


async def test_money_of_many_fills_meets_in_one_account_per_owner(books: Books) -> None:
    trade = await books.accepted()
    for ticket in (1, 2, 3):
        await books.book(make_fill(ticket=ticket, magic=trade.progress.magic))

    accounts = await books.rows(
        "SELECT l.user_id, l.code, count(*) AS entries FROM ledger_accounts l"
        " JOIN ledger_entries e ON e.ledger_account_id = l.id GROUP BY l.id ORDER BY l.code"
    )
    assert accounts == [
        {"user_id": None, "code": "broker_cash", "entries": 3},
        {"user_id": books.user_id, "code": "commission", "entries": 3},
    ]
