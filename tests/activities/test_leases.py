"""A living process keeps its lease; a dead one's is taken, and one that lost it stops."""

import asyncio
from datetime import timedelta

import pytest

from activities import leases
from db.accounts import Lease
from domain.errors import LeaseLost
from tests.db.books import SLUG, Books
from tests.waiting import until

TTL, GRACE = timedelta(hours=1), timedelta(seconds=5)


async def take(books: Books) -> Lease:
    _, lease = await leases.take(books.broker, SLUG, terminal="t", ttl=TTL, grace=GRACE)
    return lease


async def test_a_living_holder_keeps_the_account(books: Books) -> None:
    await take(books)
    with pytest.raises(LeaseLost, match="served by process"):
        await take(books)


@pytest.mark.parametrize("holder", ["{host}:999999999:1", "{host}:{pid}:1"])
async def test_a_dead_holders_lease_is_taken_even_if_its_number_is_in_use_again(books: Books, holder: str) -> None:
    first = await take(books)
    host, pid, _ = first.holder.rsplit(":", 2)
    await books.run("UPDATE broker_accounts SET lease_holder = :holder", holder=holder.format(host=host, pid=pid))

    assert (await take(books)).number == first.number + 1


async def test_a_holder_elsewhere_is_waited_for(books: Books) -> None:
    await take(books)
    await books.run("UPDATE broker_accounts SET lease_holder = 'far:1:1', lease_terminal = 'far:t'")
    with pytest.raises(LeaseLost, match="leased to far"):
        await take(books)


async def test_keeping_a_lease_renews_it_until_somebody_takes_it(books: Books) -> None:
    lease = await take(books)
    before = await books.scalar("SELECT lease_expires_at FROM broker_accounts")
    keeping = asyncio.create_task(leases.keep(books.broker, lease, ttl=timedelta(milliseconds=60)))

    async def renewed() -> bool:
        return bool(await books.scalar("SELECT lease_expires_at FROM broker_accounts") != before)

    await until(renewed, what="the lease to be renewed")
    await books.run("UPDATE broker_accounts SET lease_number = lease_number + 1")

    with pytest.raises(LeaseLost, match="taken over"):
        await asyncio.wait_for(keeping, 5)
