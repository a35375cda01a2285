"""Sealing on a real database: each row once, in the order in which transactions end, whoever else is at work."""

import asyncio
import random

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.seals import TransactionsWentBack, newest_seal, seal_next
from domain.origins import Origin, origin
from stack.scratch import Database
from tests.db.auditing import check, seal, sealed_subjects, tamper, write, write_rows


async def anything_left(database: Database) -> bool:
    async with database.engine("sealer").connect() as connection:
        return bool(
            await connection.scalar(
                text("SELECT EXISTS (SELECT FROM audit_log WHERE id NOT IN (SELECT audit_id FROM audit_chain))")
            )
        )


async def test_every_row_is_sealed_once_and_the_chain_is_good(database: Database) -> None:
    for each in range(10):
        await write(database, f"{each}a", f"{each}b", f"{each}c")
    assert await seal(database, most=7) > 3
    assert not await anything_left(database)
    assert await check(database) is None


async def test_a_transaction_of_many_rows_is_never_parted(database: Database) -> None:
    await seal(database)
    await write(database, *(str(each) for each in range(50)))
    await write(database, "after")
    assert await seal(database, most=10) == 2
    async with database.engine("sealer").connect() as connection:
        newest = await newest_seal(connection)
    assert newest is not None
    assert newest.seal.last_seq == newest.seal.first_seq
    assert await check(database) is None


async def test_p5_transaction_that_commits_late_is_sealed_once_and_in_its_order(database: Database) -> None:
    """Line P5: the seal waits for the oldest that still runs, so nothing commits behind it."""
    await seal(database)
    engine = database.engine("api")
    async with engine.connect() as slow:
        begun = await slow.begin()
        await write_rows(slow, "slow")
        await write(database, "quick")
        assert await seal(database) == 0
        await begun.commit()
    assert await seal(database) == 1
    assert (await sealed_subjects(database))[-2:] == ["thing:slow", "thing:quick"]
    assert await check(database) is None


async def test_what_was_rolled_back_leaves_no_gap(database: Database) -> None:
    async with database.engine("api").connect() as connection:
        begun = await connection.begin()
        await write_rows(connection, "never")
        await begun.rollback()
    await write(database, "kept")
    await seal(database)
    assert "thing:never" not in await sealed_subjects(database)
    assert await check(database) is None


@pytest.mark.parametrize("seed", range(3))
async def test_several_sealers_beside_writers_make_one_chain(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    writing = asyncio.Event()

    async def writer(number: int) -> None:
        for each in range(15):
            async with database.engine("api").begin() as connection:
                await write_rows(connection, f"{number}.{each}")
                await asyncio.sleep(chance.random() / 200)
                await write_rows(connection, f"{number}.{each}'")

    async def sealer() -> None:
        while not writing.is_set():
            async with database.engine("sealer").begin() as connection:
                await seal_next(connection, most=chance.randint(1, 20))

    async with asyncio.TaskGroup() as tasks:
        sealing = [tasks.create_task(sealer()) for _ in range(3)]
        await asyncio.gather(*(writer(number) for number in range(4)))
        writing.set()
        await asyncio.gather(*sealing)
    await seal(database)
    subjects = await sealed_subjects(database)
    assert len(subjects) == len(set(subjects))
    assert not await anything_left(database)
    assert await check(database) is None


@pytest.mark.parametrize("role", ["api", "pipeline", "broker"])
async def test_no_other_role_can_keep_rows_from_being_sealed(database: Database, role: str) -> None:
    await write(database, "one")
    async with database.engine(role).connect() as holding:
        with pytest.raises(DBAPIError, match="permission denied"):
            await holding.execute(text("SELECT FROM audit_sealing FOR UPDATE"))
        await holding.rollback()
        await holding.execute(text("SELECT pg_advisory_lock(hashtextextended('sealing', 0))"))
        assert await seal(database) > 0


async def test_a_sealer_that_dies_between_its_links_and_its_seal_leaves_neither(database: Database) -> None:
    """Line P4: they are one transaction, so the next one begins where the last whole seal ended."""
    await write(database, "one", "two")
    engine = database.engine("sealer")
    async with engine.connect() as dying:
        await dying.begin()
        await seal_next(dying, most=10)
        backend = await dying.scalar(text("SELECT pg_backend_pid()"))
        async with database.engine("sealer").connect() as other:
            await other.execute(text("SELECT pg_terminate_backend(:backend)"), {"backend": backend})
        with pytest.raises(DBAPIError):
            await dying.execute(text("SELECT 1"))
        await dying.invalidate()
    await seal(database)
    assert not await anything_left(database)
    assert await check(database) is None


async def test_a_server_that_counts_from_below_seals_nothing(database: Database) -> None:
    await write(database, "one")
    await seal(database)
    await tamper(database, "UPDATE audit_seals SET horizon = horizon + 1000000000")
    with pytest.raises(TransactionsWentBack, match="set up anew from a dump"):
        await seal(database)


async def test_a_seal_that_does_not_follow_the_newest_is_refused_by_the_database(database: Database) -> None:
    await write(database, "one")
    await seal(database)
    with pytest.raises(DBAPIError, match="does not follow seal"):
        await run(
            database,
            "sealer",
            "INSERT INTO audit_seals (number, first_seq, last_seq, horizon, root, head, digest) "
            "SELECT number, last_seq + 1, last_seq + 1, horizon, root, head, digest FROM audit_seals "
            "ORDER BY number DESC LIMIT 1",
        )


FORBIDDEN = (
    "UPDATE audit_log SET actor = 'x'",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "INSERT INTO audit_log (xact, actor, action, subject, detail) VALUES (1, 'x', 'x', 'x', '{}')",
    "INSERT INTO audit_log (at, actor, action, subject, detail) VALUES (now(), 'x', 'x', 'x', '{}')",
    "INSERT INTO audit_log (role, actor, action, subject, detail) VALUES ('x', 'x', 'x', 'x', '{}')",
    "INSERT INTO audit_chain (seq, audit_id, hash) VALUES (1000, 1, sha256(''))",
    "UPDATE audit_seals SET head = sha256('')",
    "ALTER TABLE audit_log DISABLE TRIGGER append_only",
    "SET session_replication_role = replica",
    "DROP TABLE audit_log",
    "CREATE TABLE public.mine (id int)",
    "CREATE SCHEMA mine",
    "COPY audit_log TO PROGRAM 'cat'",
)


async def run(database: Database, role: str, statement: str) -> None:
    async with database.engine(role).begin() as connection:
        await connection.execute(text(statement))


@pytest.mark.parametrize("role", ["api", "pipeline", "broker", "sealer"])
async def test_p1_no_role_of_a_service_changes_the_record_or_forges_a_row(database: Database, role: str) -> None:
    """Line P1: the statements of which each must fail, tried by each role that a process runs as."""
    await write(database, "one")
    await seal(database)
    for statement in FORBIDDEN:
        if role == "sealer" and statement.startswith("INSERT INTO audit_chain"):
            continue  # its own work
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner|append-only"):
            await run(database, role, statement)


async def test_even_the_owner_changes_nothing_by_the_way_in_the_mode_of_a_replica(database: Database) -> None:
    await write(database, "one")
    connection = await asyncpg.connect(database.admin_url)
    try:
        await connection.execute("SET session_replication_role = replica")
        for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_seals", "DELETE FROM fills"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_each_row_says_which_request_process_role_and_code_wrote_it(database: Database) -> None:
    origin.set(Origin(address="192.0.2.7", request_id="req-1", trace_id="a" * 32))
    await write(database, "one")
    async with database.engine("sealer").connect() as connection:
        row = (
            (await connection.execute(text("SELECT * FROM audit_log WHERE subject = 'thing:one'")))
            .mappings()
            .one()
        )
    assert (row["address"], row["request_id"], row["trace_id"]) == ("192.0.2.7", "req-1", "a" * 32)
    assert row["role"] == "nexus_api"
