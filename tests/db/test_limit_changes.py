"""A limit that is loosened for a time falls back by itself, and no reservation sees half of a change."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from activities.reserving import ReserveTrade
from db import locks
from db.laws_trades import LIMITS
from db.limits import LimitScope, change_limit
from db.risk_context import read_risk_context
from domain.errors import LooseningRefused
from domain.limits import Authority, ForGood, LimitName, LimitUnit, Unchanged, Until
from domain.orders import OrderState
from tests.db.books import Books
from tests.factories import make_asked_limit

HOUR = timedelta(hours=1)
LOSS = LimitName.DAILY_LOSS


async def in_force(books: Books, *, at: datetime, name: LimitName = LOSS) -> list[Decimal]:
    """What the gates would go by: one value for each scope."""
    async with books.database.engine("pipeline").connect() as connection:
        context = await read_risk_context(connection, books.intent(), now=at, data_age_max=HOUR)
    return [limit.value for limit in context.limits if limit.name is name]


async def rows(books: Books) -> list[dict[str, Any]]:
    return await books.rows(
        "SELECT value, expires_at, superseded_at, superseded_at IS NULL AS stands FROM risk_limits"
        " WHERE name = 'daily_loss' ORDER BY created_at"
    )


async def expire(books: Books) -> None:
    """Let the loosening end now."""
    await books.run(
        "UPDATE risk_limits SET expires_at = clock_timestamp()"
        " WHERE expires_at IS NOT NULL AND superseded_at IS NULL"
    )


async def test_a_loosening_stands_in_for_the_base_until_it_expires_with_no_job(books: Books) -> None:
    await books.limit(LOSS, 500)
    change = await books.change_limit(LOSS, 800, lasts=8 * HOUR)

    assert isinstance(change, Until)
    assert timedelta(0) < 8 * HOUR - (change.expires_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert await in_force(books, at=change.expires_at - timedelta(microseconds=1)) == [800]
    assert await in_force(books, at=change.expires_at) == [500]
    assert [(row["value"], row["stands"]) for row in await rows(books)] == [
        (Decimal(1_000_000), False),
        (Decimal(500), True),
        (Decimal(800), True),
    ]


async def test_a_tightening_ends_the_loosening_and_both_stay_in_the_history(books: Books) -> None:
    await books.limit(LOSS, 500)
    await books.change_limit(LOSS, 800)
    assert await books.change_limit(LOSS, 400) == ForGood()

    assert await in_force(books, at=datetime.now(UTC)) == [400]
    assert [(row["value"], row["stands"]) for row in await rows(books)][1:] == [
        (500, False),
        (800, False),
        (400, True),
    ]


async def test_the_next_loosening_supersedes_an_expired_one(books: Books) -> None:
    await books.limit(LOSS, 500)
    await books.change_limit(LOSS, 800)
    await expire(books)
    assert isinstance(await books.change_limit(LOSS, 900), Until)

    assert await in_force(books, at=datetime.now(UTC)) == [900]
    assert [(row["value"], row["stands"]) for row in await rows(books)][1:] == [
        (500, True),
        (800, False),
        (900, True),
    ]


async def test_the_same_again_writes_nothing(books: Books) -> None:
    await books.change_limit(LOSS, 2_000_000, lasts=8 * HOUR)
    counts = "SELECT (SELECT count(*) FROM risk_limits) + (SELECT count(*) FROM audit_log)"
    before = await books.scalar(counts)

    assert await books.change_limit(LOSS, 2_000_000, lasts=8 * HOUR) == Unchanged()
    assert await books.scalar(counts) == before


async def test_a_refused_change_writes_nothing(books: Books) -> None:
    before = await rows(books)
    with pytest.raises(LooseningRefused):
        await books.change_limit(LOSS, 2_000_000, permanent=True, authority=Authority.FOR_A_TIME)

    assert await rows(books) == before


async def test_a_users_first_value_narrows_the_accounts_and_their_next_one_loosens(books: Books) -> None:
    risk = {"user_id": books.user_id, "authority": Authority.FOR_A_TIME}
    assert await books.change_limit(LOSS, 100, **risk) == ForGood()
    assert isinstance(await books.change_limit(LOSS, 200, **risk), Until)

    assert sorted(await in_force(books, at=datetime.now(UTC))) == [200, 1_000_000]


async def test_a_value_in_another_currency_lets_nothing_pass_so_the_next_is_a_first_one(books: Books) -> None:
    await books.run("UPDATE risk_limits SET currency = 'EUR' WHERE name = 'daily_loss'")
    with pytest.raises(LooseningRefused):
        await books.change_limit(LOSS, 10, authority=Authority.FOR_A_TIME)

    assert await books.change_limit(LOSS, 1_000_000) == ForGood()


async def test_the_audit_says_what_was_what_is_until_when_and_why(books: Books) -> None:
    await books.limit(LOSS, 500)
    change = await books.change_limit(LOSS, 800, reason="release")
    assert isinstance(change, Until)
    (audited,) = await books.rows(
        "SELECT actor, subject, detail FROM audit_log WHERE action = 'limit.set' ORDER BY id DESC LIMIT 1"
    )

    assert (audited["actor"], audited["subject"]) == ("test", "limit:daily_loss")
    assert audited["detail"] == {
        "before": "500",
        "after": "800",
        "unit": "money",
        "currency": "USD",
        "reason": "release",
        "expires_at": change.expires_at.isoformat(),
        "approved_by": None,
    }


async def test_whoever_sets_one_limit_at_once_leaves_one_base_and_one_loosening(books: Books) -> None:
    tightened = [books.change_limit(LOSS, 500 - number) for number in range(6)]
    loosened = [books.change_limit(LOSS, 2_000_000 + number, lasts=HOUR) for number in range(6)]
    await asyncio.gather(*tightened, *loosened)

    standing = [row for row in await rows(books) if row["stands"]]
    assert sum(row["expires_at"] is None for row in standing) == 1
    assert sum(row["expires_at"] is not None for row in standing) <= 1
    assert len(await in_force(books, at=datetime.now(UTC))) == 1


async def test_a_reservation_under_way_waits_for_the_change_and_is_judged_by_the_new_value(books: Books) -> None:
    trade = await books.accepted()
    scope = LimitScope(account_id=books.account.id, user_id=None, unit=LimitUnit.MONEY, currency="USD")
    async with books.owner.begin() as connection:
        await change_limit(connection, scope, make_asked_limit(LOSS, "1"), actor="test")
        reserving = asyncio.create_task(books.steps().reserve(ReserveTrade(trade_id=trade.id, last=True)))
        done, _ = await asyncio.wait({reserving}, timeout=0.5)
        assert not done
    reserved = await reserving

    assert reserved.progress.state is OrderState.DENIED
    assert {denial["code"] for denial in await denials(books)} == {"daily_loss_exceeded"}


async def denials(books: Books) -> list[dict[str, Any]]:
    (row,) = await books.rows("SELECT denials FROM trade_ledger")
    found: list[dict[str, Any]] = row["denials"]
    return found


async def test_a_change_waits_for_the_reservation_under_way(books: Books) -> None:
    async with books.owner.begin() as connection:
        await locks.take(connection, locks.Queue.RESERVING, books.account.id)
        changing = asyncio.create_task(books.change_limit(LOSS, 1))
        done, _ = await asyncio.wait({changing}, timeout=0.5)
        assert not done

    assert await changing == ForGood()


async def test_what_was_held_under_a_loosening_breaks_no_law_once_it_has_expired(books: Books) -> None:
    await books.limit(LOSS, 100)
    await books.change_limit(LOSS, 1_000)
    assert (await books.reserved()).state is OrderState.PENDING

    await expire(books)
    assert await in_force(books, at=datetime.now(UTC)) == [100]
    assert await broken(books) == []

    await books.run("UPDATE risk_limits SET expires_at = created_at WHERE expires_at IS NOT NULL")
    assert await broken(books) == ["account demo: 220.42 USD is held, and the limit daily_loss is 100"]


async def broken(books: Books) -> list[str]:
    async with books.owner.connect() as connection:
        return [row for query in LIMITS.violations for row in await connection.scalars(text(query))]


async def test_the_api_adds_rows_and_ends_them_and_no_more(books: Books) -> None:
    scope = LimitScope(account_id=books.account.id, user_id=None, unit=LimitUnit.MONEY, currency="USD")
    async with books.database.engine("api").begin() as connection:
        change = await change_limit(connection, scope, make_asked_limit(LOSS, "400"), actor="test")
    assert change == ForGood()

    for statement in ("UPDATE risk_limits SET value = 1", "DELETE FROM risk_limits"):
        with pytest.raises(DBAPIError, match="permission denied"):
            await books.run(statement, role="api")
