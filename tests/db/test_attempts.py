"""A send is claimed once, by whoever comes first, and the claim never changes."""

import asyncio

import pytest
from sqlalchemy.exc import IntegrityError

from db import attempts
from db.attempts import Attempt
from db.trades import Trade
from domain.orders import Accepted, NotSent, Rejected, SubmitOutcome, Unresolved
from tests.db.books import Books
from tests.factories import NOW

ACCEPTED = Accepted(broker_order_id=7001, order=None, fills=(), quote=None, retcode=10009)
REJECTED = Rejected(reason="no_money", retcode=10019)
UNRESOLVED = Unresolved(reason="timeout", retcode=None, sender_ended_at=NOW)
NOT_SENT = NotSent(reason="price_collar", detail={})


async def claim(books: Books, trade: Trade, *, lease_number: int = 1) -> Attempt | None:
    async with books.broker.begin() as connection:
        return await attempts.claim(connection, trade, number=1, lease_number=lease_number)


async def record(books: Books, attempt: Attempt, outcome: SubmitOutcome) -> None:
    async with books.broker.begin() as connection:
        await attempts.record_outcome(connection, attempt, outcome)


async def test_of_many_claimers_one_gets_the_claim(books: Books) -> None:
    trade = await books.accepted()

    claims = await asyncio.gather(*(claim(books, trade, lease_number=number) for number in range(1, 21)))

    won = [attempt for attempt in claims if attempt is not None]
    assert len(won) == 1
    stored = await books.rows("SELECT trade_id, number, magic, lease_number FROM send_attempts")
    assert stored == [
        {
            "trade_id": trade.id,
            "number": 1,
            "magic": trade.progress.magic,
            "lease_number": won[0].lease_number,
        }
    ]


async def test_a_claim_stays_claimed_after_any_outcome(books: Books) -> None:
    for outcome in (ACCEPTED, REJECTED, UNRESOLVED, NOT_SENT):
        trade = await books.accepted()
        attempt = await claim(books, trade)
        assert attempt is not None
        await record(books, attempt, outcome)
        assert await claim(books, trade, lease_number=2) is None


async def test_unresolved_is_the_one_outcome_that_another_may_follow(books: Books) -> None:
    for outcome in (ACCEPTED, REJECTED):
        attempt = await claim(books, await books.accepted())
        assert attempt is not None
        await record(books, attempt, UNRESOLVED)
        await record(books, attempt, outcome)
        with pytest.raises(IntegrityError, match="already"):
            await record(books, attempt, NOT_SENT)


async def test_a_claim_keeps_who_made_it(books: Books) -> None:
    await claim(books, await books.accepted())
    for change in ("lease_number = 9", "magic = 9", "number = 2", "claimed_at = now()"):
        with pytest.raises(IntegrityError, match="a claim does not change"):
            await books.run(f"UPDATE send_attempts SET {change}", role="broker")


async def test_the_newest_claim_knows_when_its_sender_was_proven_dead(books: Books) -> None:
    trade = await books.accepted()
    attempt = await claim(books, trade)
    assert attempt is not None
    async with books.broker.begin() as connection:
        await attempts.record_sender_ended(connection, attempt, at=NOW)
        newest = await attempts.newest(connection, trade.id)
    assert newest is not None
    assert newest.sender_ended_at == NOW
