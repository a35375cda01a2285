"""One sender per account by a numbered lease; one trading user on a netting account."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from db import accounts
from db.accounts import Lease, LeaseHeld
from domain.errors import AccountNotFound, LeaseLost
from tests.db.books import SLUG, Books

HOUR = timedelta(hours=1)
NONE = timedelta(0)


async def take(
    books: Books, holder: str, *, terminal: str = "here", ttl: timedelta = HOUR, grace: timedelta = HOUR
) -> Lease | LeaseHeld:
    async with books.broker.begin() as connection:
        return await accounts.take_lease(connection, SLUG, holder=holder, terminal=terminal, ttl=ttl, grace=grace)


async def taken(books: Books, holder: str, *, terminal: str = "here", ttl: timedelta = HOUR) -> Lease:
    lease = await take(books, holder, terminal=terminal, ttl=ttl)
    assert isinstance(lease, Lease)
    return lease


async def check(books: Books, lease: Lease) -> None:
    async with books.broker.begin() as connection:
        await accounts.check_lease(connection, lease)


async def test_the_same_terminal_takes_over_at_once_with_a_higher_number(books: Books) -> None:
    first, second = await taken(books, "a"), await taken(books, "b")

    assert second.number == first.number + 1
    await check(books, second)
    with pytest.raises(LeaseLost):
        await check(books, first)


async def test_another_terminal_waits_for_the_lease_and_the_grace(books: Books) -> None:
    await taken(books, "a", ttl=NONE)

    held = await take(books, "b", terminal="elsewhere", grace=HOUR)
    assert isinstance(held, LeaseHeld)
    assert held.holder == "a"
    assert held.free_at > datetime.now(UTC) + HOUR / 2

    assert isinstance(await take(books, "b", terminal="elsewhere", grace=NONE), Lease)


async def test_a_lease_that_ran_out_is_nobodys_until_renewed(books: Books) -> None:
    lease = await taken(books, "a", ttl=NONE)
    with pytest.raises(LeaseLost):
        await check(books, lease)

    async with books.broker.begin() as connection:
        await accounts.renew_lease(connection, lease, ttl=HOUR)
    await check(books, lease)


async def test_a_lease_that_was_taken_over_is_not_renewed(books: Books) -> None:
    first = await taken(books, "a")
    await taken(books, "b")
    with pytest.raises(LeaseLost, match="taken over"):
        async with books.broker.begin() as connection:
            await accounts.renew_lease(connection, first, ttl=HOUR)


async def test_each_taking_is_recorded_with_the_holder_before(books: Books) -> None:
    await taken(books, "a")
    await taken(books, "b")
    details = await books.rows("SELECT detail FROM audit_log WHERE action = 'lease.taken' ORDER BY id")
    assert [row["detail"]["before"] for row in details] == [None, "a"]


async def test_a_netting_account_refuses_a_second_trading_user(netting_books: Books) -> None:
    with pytest.raises(IntegrityError, match="uq_account_users_netting"):
        await netting_books.add_trader("second")


async def test_a_hedging_account_takes_several(books: Books) -> None:
    await books.add_trader("second")
    assert await books.scalar("SELECT count(*) FROM account_users") == 2


async def test_an_account_that_is_not_there_is_named(books: Books) -> None:
    with pytest.raises(AccountNotFound, match="nowhere"):
        async with books.broker.connect() as connection:
            await accounts.read_account(connection, "nowhere")
