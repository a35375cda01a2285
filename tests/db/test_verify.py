"""Each law finds the row that breaks it, and nothing but that, in the books of a desk that has traded."""

import itertools
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from temporalio.testing import WorkflowEnvironment

from brokers.simulator.faults import Reject
from db.verify import LAWS, LawResult, verify
from domain.money import Lots, Price
from domain.orders import OrderState, OrderType, Side
from stack.scratch import cloned_database
from tests.desk import Desk, open_desk
from tests.waiting import until

_copies = itertools.count(1)

SETTLED_SNAPSHOT = """
    SELECT max(read_at) > (SELECT max(booked_at) + interval '1 second' FROM fills) FROM account_snapshots
"""


def of(client_order_id: str) -> str:
    return f"(SELECT id FROM trade_ledger WHERE client_order_id = '{client_order_id}')"


async def trade(desk: Desk) -> None:
    """One life of each kind: filled and closed, filled in parts, working, cancelled, denied, rejected."""
    bought = desk.intent(client_order_id="bought")
    await desk.execute(bought)
    await desk.settled(bought)
    position_id = (await desk.trade(bought)).progress.broker_order_id

    async def shown() -> bool:
        return bool(
            await desk.scalar("SELECT count(*) FROM broker_positions WHERE position_id = :p", p=position_id)
        )

    await until(shown, what="the position to show")
    closing = desk.intent(client_order_id="closing", side=Side.SELL, position_id=position_id)
    await desk.execute(closing)
    await desk.settled(closing)
    in_parts = desk.intent(client_order_id="in-parts", symbol="US500", volume=Lots(Decimal("1.00")))
    await desk.execute(in_parts)
    await desk.becomes(in_parts, OrderState.FILLED)
    await desk.settled(in_parts)
    far = {"order_type": OrderType.LIMIT, "price": Price(Decimal("0.90000"))}
    assert (await desk.execute(desk.intent(client_order_id="resting", **far))).state is OrderState.WORKING
    denied = desk.intent(client_order_id="denied", volume=Lots(Decimal(90)))
    assert (await desk.execute(denied)).state is OrderState.DENIED
    desk.control.script("EURUSD", [Reject(retcode=10006)])
    rejected = desk.intent(client_order_id="rejected")
    assert (await desk.execute(rejected)).state is OrderState.REJECTED
    await desk.settled(rejected)


@pytest.fixture(scope="module")
async def traded(
    migrated_template: str, temporal_env: WorkflowEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """The superuser's URL of a database that a desk has traded on; nobody is connected to it any more."""
    folder: Path = tmp_path_factory.mktemp("desk")
    async with cloned_database(migrated_template, name="nexus_traded") as database:
        async with open_desk(database, temporal_env.client, folder) as desk:
            await trade(desk)

            async def snapshot_is_younger_than_the_fills() -> bool:
                return bool(await desk.scalar(SETTLED_SNAPSHOT))

            await until(snapshot_is_younger_than_the_fills, what="a snapshot after the last fill")
            for result in await laws_of(database.urls["owner"]):
                assert result.violations == (), "the laws hold while the desk is running"
        await database.dispose()
        yield database.admin_url


@pytest.fixture
async def books(traded: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser on a copy of those books, past every trigger."""
    name = f"nexus_traded_{next(_copies)}"
    server = await asyncpg.connect(urlsplit(traded)._replace(path="/postgres").geturl())
    await server.execute(f'CREATE DATABASE "{name}" TEMPLATE nexus_traded OWNER nexus_owner')
    copy = await asyncpg.connect(urlsplit(traded)._replace(path=f"/{name}").geturl())
    await copy.execute("SET session_replication_role = replica")
    # The triggers that keep history as it is hold in that mode as well; here they are made to look on.
    await copy.execute(
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    )
    yield copy
    await copy.close()
    await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await server.close()


async def laws_of(url: str) -> list[LawResult]:
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    try:
        async with engine.begin() as connection:
            return await verify(connection)
    finally:
        await engine.dispose()


async def broken(books: asyncpg.Connection, traded: str) -> dict[int, tuple[str, ...]]:
    """The violations by the number of their law."""
    name = await books.fetchval("SELECT current_database()")
    results = await laws_of(urlsplit(traded)._replace(path=f"/{name}").geturl())
    return {result.law: result.violations for result in results if result.violations}


async def test_the_books_of_a_desk_that_traded_keep_every_law(books: asyncpg.Connection, traded: str) -> None:
    name = await books.fetchval("SELECT current_database()")
    results = await laws_of(urlsplit(traded)._replace(path=f"/{name}").geturl())

    assert [result.law for result in results] == list(range(1, 11))
    assert {result.law: result.violations for result in results if result.violations} == {}
    assert all(result.checked > 0 for result in results)


BREACHES = [
    pytest.param(
        1,
        f"""INSERT INTO send_attempts (trade_id, number, account_id, magic, lease_number, outcome, outcome_at)
            SELECT trade_id, 2, account_id, magic, lease_number, 'accepted', now() FROM send_attempts
            WHERE trade_id = {of("bought")}""",
        "trade {bought}: 2 of its claims may each have been executed",
        id="a-second-claim",
    ),
    pytest.param(
        1,
        f"UPDATE fills SET broker_order_id = 7 WHERE trade_id = {of('bought')}",
        "trade {bought}: the broker has orders 7, ",
        id="a-second-order",
    ),
    pytest.param(
        1,
        f"DELETE FROM send_attempts WHERE trade_id = {of('resting')}",
        "trade {resting} is working with 0 lots filled, and nobody claimed a send",
        id="a-send-without-a-claim",
    ),
    pytest.param(
        1,
        f"""UPDATE trade_ledger SET close_by_position_id = 7, closed_at = closed_at - interval '2 minutes'
            WHERE id = {of("closing")}""",
        "trade {closing}: 0.1",
        id="a-position-closed-by-nothing",
    ),
    pytest.param(
        2,
        f"UPDATE send_attempts SET outcome = NULL, outcome_at = NULL WHERE trade_id = {of('rejected')}",
        "trade {rejected}: claim 1 has no answer, and its reservation is released",
        id="an-unanswered-claim-let-go",
    ),
    pytest.param(
        2,
        f"UPDATE send_attempts SET reason = 'absent' WHERE trade_id = {of('rejected')}",
        "trade {rejected}: claim 1 counts as absent, and its sender was never proven dead",
        id="absence-without-proof",
    ),
    pytest.param(
        3,
        "UPDATE exposure_totals SET held_loss = held_loss + 1",
        "totals say loss ",
        id="a-total-that-is-off",
    ),
    pytest.param(
        3,
        f"DELETE FROM risk_adjustments WHERE trade_id = {of('resting')}",
        "trade {resting}: 0.10 lots",
        id="a-claim-without-adjustments",
    ),
    pytest.param(
        3,
        "UPDATE risk_limits SET value = 100 WHERE name = 'position_size'",
        "9000.00 USD is held in EURUSD, and the limit position_size is 100",
        id="a-limit-that-is-passed",
    ),
    pytest.param(
        4,
        f"UPDATE fill_allocations SET volume = volume + 1 WHERE trade_id = {of('in-parts')} AND volume = 0.2",
        " 0.2 lots, profit ",
        id="a-fill-allocated-twice",
    ),
    pytest.param(
        4,
        f"UPDATE trade_ledger SET average_price = average_price + 1 WHERE id = {of('bought')}",
        "trade {bought} says 0.1",
        id="a-price-that-no-fill-has",
    ),
    pytest.param(
        5,
        "UPDATE trading_control SET state = 'halted', set_at = now() - interval '1 hour'",
        "trade {bought}: claim 1 at ",
        id="a-claim-under-a-stop",
    ),
    pytest.param(
        6, "GRANT UPDATE ON fills TO nexus_api", "role nexus_api may update fills", id="a-right-to-change"
    ),
    pytest.param(
        6,
        "ALTER TABLE events DISABLE TRIGGER append_only",
        "events: the trigger that refuses changes is off",
        id="a-trigger-that-is-off",
    ),
    pytest.param(
        6, "DROP TRIGGER guard ON trade_ledger", "guard trade_ledger.guard is missing", id="a-guard-that-is-gone"
    ),
    pytest.param(
        6,
        "DROP TRIGGER guard ON discrepancies",
        "guard discrepancies.guard is missing",
        id="a-discrepancy-without-its-guard",
    ),
    pytest.param(
        7,
        f"UPDATE trade_ledger SET state = 'partially_filled' WHERE id = {of('resting')}",
        "trade {resting} is partially_filled, its newest audit record says working",
        id="a-state-without-a-record",
    ),
    pytest.param(
        7,
        f"DELETE FROM audit_log WHERE action = 'trade.accepted' AND subject = 'trade:' || {of('denied')}",
        "0 audit records and 1 events of trade.accepted",
        id="a-record-that-is-gone",
    ),
    pytest.param(
        7,
        "DELETE FROM events WHERE kind = 'fill.booked'",
        ": no event says that revision 1 was booked",
        id="a-fill-without-a-record",
    ),
    pytest.param(
        8, "DELETE FROM broker_positions", " is gone, and its fills leave 1.0", id="an-empty-answer-believed"
    ),
    pytest.param(
        8,
        "UPDATE broker_positions SET read_at = read_at - interval '2 minutes'",
        " was read at ",
        id="a-reading-in-two-halves",
    ),
    pytest.param(
        9,
        f"""UPDATE ledger_entries SET amount = amount + 1
            WHERE line = 2 AND trade_id = {of("bought")} AND event_id = (
                SELECT event_id FROM ledger_entries WHERE trade_id = {of("bought")} ORDER BY event_id LIMIT 1)""",
        " is off by 1",
        id="an-entry-that-is-off",
    ),
    pytest.param(
        9,
        "UPDATE account_snapshots SET balance = balance + 500",
        "500.00 is unexplained",
        id="a-balance-that-differs",
    ),
    pytest.param(
        9, "UPDATE user_daily_stats SET swap = swap + 3", "the day is off by profit 0", id="a-day-that-is-off"
    ),
    pytest.param(
        10,
        f"UPDATE trade_ledger SET decided_at = NULL WHERE id = {of('denied')}",
        "trade {denied} is denied and settled, which the instant of its decision contradicts",
        id="a-decision-without-an-instant",
    ),
    pytest.param(
        10,
        f"UPDATE trade_ledger SET closed_at = NULL WHERE id = {of('bought')}",
        "trade {bought} is filled, though its reservation is settled",
        id="a-settlement-half-done",
    ),
]


@pytest.mark.parametrize(("law", "breach", "named"), BREACHES)
async def test_a_breach_is_named_by_its_law_alone(
    books: asyncpg.Connection, traded: str, law: int, breach: str, named: str
) -> None:
    ids = {row["client_order_id"]: row["id"] for row in await books.fetch("SELECT * FROM trade_ledger")}
    await books.execute(breach)

    found = await broken(books, traded)

    assert list(found) == [law]
    assert any(named.format_map(ids) in violation for violation in found[law]), found[law]


async def test_a_close_may_leave_while_trading_is_reduced_only(books: asyncpg.Connection, traded: str) -> None:
    closing = await books.fetchval(f"SELECT {of('closing')}")
    await books.execute("UPDATE trading_control SET state = 'reduce_only', set_at = now() - interval '1 hour'")

    named = (await broken(books, traded))[5]

    assert len(named) == 4
    assert not any(str(closing) in violation for violation in named)


async def test_only_the_close_of_a_stop_leaves_while_trading_is_halted(
    books: asyncpg.Connection, traded: str
) -> None:
    closing = await books.fetchval(f"SELECT {of('closing')}")
    await books.execute("UPDATE trading_control SET state = 'halted', set_at = now() - interval '1 hour'")
    assert any(str(closing) in violation for violation in (await broken(books, traded))[5])

    await books.execute(
        """INSERT INTO emergency_stops (id, scope, scope_id, mode, cancel_orders, flatten, include_external, cause,
                                        reason, requested_by, resume_role, requested_at)
           VALUES (gen_random_uuid(), 'all', '', 'halted', true, true, false, 'person', 'test', 'test', 'admin',
                   now())"""
    )
    await books.execute(
        f"UPDATE trade_ledger SET stop_id = (SELECT id FROM emergency_stops) WHERE id = {of('closing')}"
    )
    assert not any(str(closing) in violation for violation in (await broken(books, traded))[5])


async def test_an_unanswered_claim_may_be_let_go_by_a_named_person(books: asyncpg.Connection, traded: str) -> None:
    await books.execute(
        f"UPDATE send_attempts SET outcome = 'unresolved', reason = NULL WHERE trade_id = {of('rejected')}"
    )
    assert list(await broken(books, traded)) == [2]

    await books.execute(
        """INSERT INTO trade_commands (trade_id, key, kind, body_hash, requested_by, outcome, outcome_at)
           SELECT id, 'decided', 'resolve', 'hash', user_id, 'done', now() FROM trade_ledger
           WHERE client_order_id = 'rejected'"""
    )

    assert await broken(books, traded) == {}


def test_every_law_has_one_check() -> None:
    assert [law.number for law in LAWS] == list(range(1, 11))
    assert all(law.violations for law in LAWS)
