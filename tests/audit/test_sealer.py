"""The sealer at work: within a second, past kills, telling others, and finding damage by itself."""

import asyncio
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from audit.anchors import Anchors, FilePlace, anchors_of
from audit.sealer import Sealer, SealerPace
from audit.signing import Signer
from db import audit_faults
from stack.scratch import Database
from stack.state import CHECKOUT
from tests.db.auditing import check, sealed_subjects, tamper, write
from tests.waiting import until

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
SIGNER = Signer(KEY.encode())


def make_sealer(database: Database, path: Path) -> Sealer:
    def read() -> Anchors:
        return anchors_of(path, trusted=[SIGNER.public_key])

    return Sealer(
        database.engine("sealer"),
        signer=SIGNER,
        places=[FilePlace(path)],
        read_anchors=read,
        pace=SealerPace(seal=0.05, anchor=0.1, check=0.1),
        now=lambda: datetime.now(UTC),
    )


async def faults(database: Database) -> list[str]:
    async with database.engine("sealer").connect() as connection:
        return list(await connection.scalars(text("SELECT kind FROM audit_faults ORDER BY id")))


async def unsealed(database: Database) -> int:
    async with database.engine("sealer").connect() as connection:
        asked = "SELECT count(*) FROM audit_log WHERE id NOT IN (SELECT audit_id FROM audit_chain)"
        return int(await connection.scalar(text(asked)) or 0)


async def test_what_is_written_is_sealed_and_anchored_while_it_runs_and_before_it_ends(
    database: Database, tmp_path: Path
) -> None:
    path, stopping = tmp_path / "anchors", asyncio.Event()
    running = asyncio.create_task(make_sealer(database, path).run(stopping))
    await write(database, "one")

    async def anchored() -> bool:
        return bool(anchors_of(path, trusted=[SIGNER.public_key]).good) and await unsealed(database) == 0

    await until(anchored, what="the row to be sealed and anchored")
    await write(database, "two")
    stopping.set()
    await running
    assert await unsealed(database) == 0
    anchors = anchors_of(path, trusted=[SIGNER.public_key]).good
    assert anchors[max(anchors)].last_seq == len(await sealed_subjects(database))
    assert await check(database, anchors=anchors) is None


async def test_damage_is_noted_once_with_an_alert_and_later_damage_behind_it_as_well(
    database: Database, tmp_path: Path
) -> None:
    sealer = make_sealer(database, tmp_path / "anchors")
    for name in ("a", "b"):
        await write(database, name)
        await sealer.seal()
    await sealer.check()
    assert await faults(database) == []
    await tamper(database, "UPDATE audit_log SET actor = 'x' WHERE subject = 'thing:a'")
    for _ in range(3):
        await sealer.check()
    assert await faults(database) == ["row_altered"]
    await tamper_again(database)
    for _ in range(3):
        await sealer.check()
    assert await faults(database) == ["row_altered", "row_altered"]
    async with database.engine("owner").connect() as connection:
        alerts = list(await connection.scalars(text("SELECT summary FROM alerts WHERE kind = 'audit_broken'")))
    assert len(alerts) == 2
    assert "is not what was sealed" in alerts[0]


async def tamper_again(database: Database) -> None:
    async with database.engine("owner").begin() as connection:
        await connection.execute(text("ALTER TABLE audit_log DISABLE TRIGGER append_only"))
        await connection.execute(text("UPDATE audit_log SET actor = 'x' WHERE subject = 'thing:b'"))


async def test_a_cut_tail_is_found_by_the_anchors_that_the_sealer_can_read(
    database: Database, tmp_path: Path
) -> None:
    sealer = make_sealer(database, tmp_path / "anchors")
    for name in ("a", "b"):
        await write(database, name)
        await sealer.seal()
    await sealer.anchor()
    await tamper(
        database,
        "DELETE FROM audit_anchors",
        "DELETE FROM audit_seals WHERE number = (SELECT max(number) FROM audit_seals)",
        "DELETE FROM audit_chain WHERE seq > (SELECT max(last_seq) FROM audit_seals)",
        "DELETE FROM audit_log WHERE subject = 'thing:b'",
    )
    await sealer.check()
    assert await faults(database) == ["tail_cut"]
    for name in ("c", "d", "e"):
        await write(database, name)
        await sealer.seal()
        await sealer.check()
    # It has grown past the anchor, and is still not the chain that was anchored; that is told once.
    await sealer.check()
    assert await faults(database) == ["tail_cut", "seal_altered"]


async def test_anchors_that_somebody_else_wrote_are_a_fault(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "anchors"
    sealer = make_sealer(database, path)
    await write(database, "a")
    await sealer.seal()
    await sealer.anchor()
    path.write_text(path.read_text().replace('"last_seq":', '"last_seq":1'))
    await sealer.check()
    assert await faults(database) == ["anchor_forged"]
    await tamper(database, "UPDATE audit_log SET actor = 'x' WHERE subject = 'thing:a'")
    await sealer.check()
    assert await faults(database) == ["anchor_forged", "row_altered"]


async def test_rows_that_no_seal_would_reach_are_found_at_both_ends(database: Database, tmp_path: Path) -> None:
    sealer = make_sealer(database, tmp_path / "anchors")
    await write(database, "a")
    await sealer.seal()
    forged = "INSERT INTO audit_log (xact, actor, action, subject, detail) VALUES ({}, 'x', 'x', 'x', '{{}}')"
    dropped = "ALTER TABLE audit_log DROP CONSTRAINT ck_audit_log_xact"
    await tamper(database, dropped, forged.format(-5), forged.format(4_000_000_000_000))
    await sealer.check()
    assert await faults(database) == ["row_inserted", "row_inserted"]


async def test_a_table_that_was_given_rules_of_who_sees_which_row_is_found(
    database: Database, tmp_path: Path
) -> None:
    await tamper(database, "ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY")
    await make_sealer(database, tmp_path / "anchors").check()
    assert await faults(database) == ["table_replaced"]


async def test_a_second_row_of_a_seal_is_told_after_the_first_was_accepted(
    database: Database, tmp_path: Path
) -> None:
    sealer = make_sealer(database, tmp_path / "anchors")
    await write(database, "a", "b")
    await sealer.seal()
    await tamper(database, "UPDATE audit_log SET actor = 'x' WHERE subject = 'thing:a'")
    await sealer.check()
    async with database.engine("owner").begin() as connection:
        (fault,) = await audit_faults.list_standing(connection)
        await audit_faults.accept(connection, fault.id, actor="user:risk", reason="looked into")
    await tamper_again(database)
    await sealer.check()
    async with database.engine("owner").connect() as connection:
        assert [each.kind for each in await audit_faults.list_standing(connection)] == ["row_altered"]


async def test_a_seal_that_cannot_even_be_computed_is_a_fault_and_the_sealer_goes_on(
    database: Database, tmp_path: Path
) -> None:
    sealer = make_sealer(database, tmp_path / "anchors")
    for name in ("a", "b"):
        await write(database, name)
        await sealer.seal()
    await tamper(database, "UPDATE audit_seals SET horizon = -1 WHERE number = 2")
    await sealer.check()
    assert await faults(database) == ["seal_missing"]


async def test_a_place_that_takes_no_anchor_is_alerted_once_a_day_and_tried_again(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "anchors"
    path.mkdir()
    sealer = make_sealer(database, path)
    await write(database, "a")
    await sealer.seal()
    for _ in range(2):
        await sealer.anchor()
    async with database.engine("owner").connect() as connection:
        asked = text("SELECT count(*) FROM alerts WHERE kind = 'anchor_refused'")
        assert await connection.scalar(asked) == 1
    path.rmdir()
    await sealer.anchor()
    assert len(anchors_of(path, trusted=[SIGNER.public_key]).good) == 1


async def start(database: Database, path: Path) -> Process:
    process = await create_subprocess_exec(
        *(sys.executable, "worker.py", "--role", "sealer"),
        cwd=CHECKOUT,
        env={
            "DATABASE_URL": database.urls["sealer"],
            "NEXUS_PROFILE": "embedded",
            "AUDIT_SIGNING_KEY": KEY,
            "AUDIT_ANCHOR_PATH": str(path),
            "AUDIT_ANCHOR_SECONDS": "1",
        },
        stdout=PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"sealer ready\n"
    return process


@pytest.mark.parametrize("seed", range(2))
async def test_p4_sealer_that_is_killed_at_any_moment_leaves_no_gap_and_no_double(
    database: Database, tmp_path: Path, seed: int
) -> None:
    chance, path = random.Random(seed), tmp_path / "anchors"
    writing = True

    async def keep_writing() -> None:
        number = 0
        while writing:
            number += 1
            await write(database, *(f"{number}.{each}" for each in range(chance.randint(1, 9))))

    writer = asyncio.create_task(keep_writing())
    for _ in range(3):
        process = await start(database, path)
        await asyncio.sleep(chance.uniform(0.05, 0.8))
        process.kill()
        await process.wait()
    writing = False
    await writer
    process = await start(database, path)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert await unsealed(database) == 0
    subjects = await sealed_subjects(database)
    assert len(subjects) == len(set(subjects))
    assert await check(database, anchors=anchors_of(path, trusted=[SIGNER.public_key]).good) is None


async def test_a_sealer_with_no_place_outside_of_the_database_does_not_start(database: Database) -> None:
    process = await create_subprocess_exec(
        *(sys.executable, "worker.py", "--role", "sealer"),
        cwd=CHECKOUT,
        env={"DATABASE_URL": database.urls["sealer"], "AUDIT_SIGNING_KEY": KEY},
        stderr=PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"neither AUDIT_ANCHOR_PATH nor AUDIT_ANCHOR_URL is set" in said
