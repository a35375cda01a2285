"""The database states the life of a discrepancy by itself, and keeps what reconciliation has written."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.discrepancies import TRANSITIONS, WAITING, DiscrepancyState
from stack.scratch import ROLES
from tests.db.books import Books
from tests.factories import NOW

SERVICES = tuple(role for role in ROLES if role != "owner")
ENDED = tuple(state for state in DiscrepancyState if state not in WAITING)
ID, RUN = UUID(int=1), UUID(int=2)

_INSERT = text("""
    INSERT INTO discrepancies (id, account_id, kind, subject, symbol, state, tier, ours, theirs, impact_usd,
                               evidence, first_run_id, last_run_id, found_at, seen_at)
    VALUES (:id, :account_id, :kind, :subject, '', :state, 'review', 1000, 1200, 200, '{}', :run, :run, :at, :at)
""")
_HISTORY = {
    "reconciliation_log": """
        INSERT INTO reconciliation_log
            (id, account_id, cause, verdict, began_at, watermark, counts, totals, explained)
        VALUES (:id, :account_id, 'request', 'clean', :at, 0, '{}', '{}', '[]')
    """,
    "position_adjustments": """
        INSERT INTO position_adjustments (id, account_id, position_id, symbol, lots)
        VALUES (:id, :account_id, 7001, 'EURUSD', 0.10)
    """,
}
CHANGES = (
    "UPDATE {table} SET account_id = account_id",
    "DELETE FROM {table}",
    "TRUNCATE {table} CASCADE",
)


async def put(connection: AsyncConnection, books: Books, state: DiscrepancyState, **changes: Any) -> None:
    values = {"id": ID, "kind": "balance", "subject": "balance", "run": RUN, "at": NOW, "state": state}
    await connection.execute(_INSERT, {"account_id": books.account.id, **values, **changes})


async def refused(connection: AsyncConnection, statement: str, **parameters: Any) -> str | None:
    """What the database says against a statement, which is undone whatever it says."""
    savepoint = await connection.begin_nested()
    try:
        await connection.execute(text(statement), parameters)
    except DBAPIError as error:
        return str(error.orig)
    finally:
        await savepoint.rollback()
    return None


@pytest.mark.parametrize("before", DiscrepancyState)
async def test_the_database_knows_the_life_of_a_discrepancy(books: Books, before: DiscrepancyState) -> None:
    async with books.database.engine("pipeline").connect() as connection:
        await put(connection, books, before)
        said = {
            after: await refused(connection, "UPDATE discrepancies SET state = :after", after=after)
            for after in DiscrepancyState
        }

    may_stay = {before} & WAITING
    assert {after for after, words in said.items() if words is None} == TRANSITIONS[before] | may_stay
    for after, words in said.items():
        if words is not None and after is not before:
            assert f"a discrepancy does not go from {before} to {after}" in words
    if before not in WAITING:
        assert f"a discrepancy that is {before} does not change" in str(said[before])


async def test_nothing_of_what_has_ended_changes(books: Books) -> None:
    async with books.owner.connect() as connection:
        for number, state in enumerate(ENDED):
            await put(connection, books, state, id=UUID(int=10 + number))
        for change in ("theirs = 0", "reason = 'after all'", "event_id = id", "run_count = 9", "seen_at = now()"):
            for number, state in enumerate(ENDED):
                said = await refused(
                    connection, f"UPDATE discrepancies SET {change} WHERE id = :id", id=UUID(int=10 + number)
                )
                assert f"a discrepancy that is {state} does not change" in str(said), change


async def test_one_of_a_kind_waits_at_a_time(books: Books) -> None:
    async with books.owner.begin() as connection:
        for number, state in enumerate(ENDED):
            await put(connection, books, state, id=UUID(int=10 + number))
        await put(connection, books, DiscrepancyState.OPEN)
        await put(connection, books, DiscrepancyState.OPEN, id=UUID(int=30), kind="credit", subject="credit")
    for state in WAITING:
        with pytest.raises(IntegrityError, match="ix_discrepancies_waiting"):
            async with books.owner.begin() as connection:
                await put(connection, books, state, id=UUID(int=31))


async def test_what_reconciliation_has_written_stays(books: Books) -> None:
    for table, insert in _HISTORY.items():
        role = {"id": ID, "account_id": books.account.id}
        await books.run(insert, role="pipeline", **role, **({"at": NOW} if ":at" in insert else {}))
        for service in SERVICES:
            for change in CHANGES:
                with pytest.raises(DBAPIError, match="permission denied"):
                    await books.run(change.format(table=table), role=service)
        for change in CHANGES:
            with pytest.raises(DBAPIError, match="append-only"):
                await books.run(change.format(table=table))
        assert await books.scalar(f"SELECT count(*) FROM {table}") == 1


@pytest.mark.parametrize(
    ("role", "insert", "update"),
    [("api", False, False), ("pipeline", True, True), ("broker", False, True), ("sealer", False, False)],
)
async def test_only_those_who_conclude_and_book_change_discrepancies(
    books: Books, role: str, *, insert: bool, update: bool
) -> None:
    async with books.owner.begin() as connection:
        await put(connection, books, DiscrepancyState.OPEN)
    async with books.database.engine(role).connect() as connection:
        said = await refused(connection, "UPDATE discrepancies SET state = 'explained'")
        assert (said is None) == update
        assert await refused(connection, "DELETE FROM discrepancies") is not None
        again = {"id": UUID(int=3), "kind": "credit", "subject": "credit"}
        values = {"account_id": books.account.id, "run": RUN, "at": NOW, "state": DiscrepancyState.OPEN, **again}
        assert (await refused(connection, str(_INSERT), **values) is None) == insert


async def test_a_position_is_not_adjusted_by_nothing(books: Books) -> None:
    insert = _HISTORY["position_adjustments"].replace("0.10", "0")
    with pytest.raises(IntegrityError, match="ck_position_adjustments_lots"):
        await books.run(insert, id=ID, account_id=books.account.id)
