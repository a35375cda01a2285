"""Trap 30: whoever owns the tables can change the record, and is found out, in the database and in an export.

Line P3 of the checklist. An end that was cut off takes an anchor that was kept elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import pytest

from audit.anchors import make_anchor, read_anchors
from audit.checks import check_all
from audit.export import Export, ExportBroken, write_export
from audit.signing import Signer
from db.seals import newest_seal
from domain.audit import Fault, FaultKind
from domain.audit_check import Anchor
from stack.scratch import Database
from tests.db.auditing import check, seal, sealed_subjects, tamper, write

SIGNER = Signer(b"a signing key for these tests alone")


async def anchor(database: Database) -> Mapping[int, Anchor]:
    """What somebody outside was told of the chain as it is now."""
    async with database.engine("sealer").connect() as connection:
        newest = await newest_seal(connection)
    assert newest is not None
    line = make_anchor(newest, SIGNER, now=datetime.now(UTC))
    return read_anchors([line + "\n"], trusted=[SIGNER.public_key]).good


async def export(database: Database) -> list[str]:
    out = StringIO()
    async with database.engine("sealer").connect() as connection:
        await write_export(connection, out.write, since_seq=1, now=datetime.now(UTC))
    return out.getvalue().splitlines(keepends=True)


async def check_file(lines: Sequence[str], anchors: Mapping[int, Anchor] | None = None) -> list[Fault]:
    exported = Export(lines)
    return await check_all(exported.batches(), exported.check(anchors or {}))


async def sealed_rows(database: Database) -> int:
    """Seal rows about a, b, c and d in one seal and one more in the next; the place of b."""
    await seal(database)
    await write(database, "a", "b", "c", "d")
    await seal(database)
    await write(database, "e")
    await seal(database)
    return (await sealed_subjects(database)).index("thing:b") + 1


TAMPERINGS = {
    "altered": (
        FaultKind.ROW_ALTERED,
        ["UPDATE audit_log SET detail = '{\"name\": \"forged\"}' WHERE subject = 'thing:b'"],
    ),
    "another actor": (FaultKind.ROW_ALTERED, ["UPDATE audit_log SET actor = 'x' WHERE subject = 'thing:b'"]),
    "another hour": (
        FaultKind.ROW_ALTERED,
        ["UPDATE audit_log SET at = at - interval '1 microsecond' WHERE subject = 'thing:b'"],
    ),
    "deleted": (FaultKind.ROW_DELETED, ["DELETE FROM audit_log WHERE subject = 'thing:b'"]),
    "deleted with its link": (
        FaultKind.LINK_MISSING,
        [
            "DELETE FROM audit_chain WHERE audit_id IN (SELECT id FROM audit_log WHERE subject = 'thing:b')",
            "DELETE FROM audit_log WHERE subject = 'thing:b'",
        ],
    ),
    "inserted": (
        FaultKind.ROW_INSERTED,
        [
            (
                "INSERT INTO audit_log (xact, actor, action, subject, detail) "
                "SELECT xact, actor, action, 'thing:forged', detail FROM audit_log WHERE subject = 'thing:b'"
            ),
        ],
    ),
    "reordered": (
        FaultKind.ROW_REORDERED,
        [
            "ALTER TABLE audit_chain DROP CONSTRAINT uq_audit_chain_audit_id",
            (
                "UPDATE audit_chain c SET audit_id = (SELECT o.id FROM audit_log o WHERE o.subject = "
                "CASE a.subject WHEN 'thing:b' THEN 'thing:c' ELSE 'thing:b' END) "
                "FROM audit_log a WHERE a.id = c.audit_id AND a.subject IN ('thing:b', 'thing:c')"
            ),
        ],
    ),
}


@pytest.mark.parametrize("how", TAMPERINGS)
async def test_p3_trap_30_change_by_an_owner_of_the_tables_is_named_in_the_database_and_in_its_export(
    database: Database, how: str
) -> None:
    bad = await sealed_rows(database)
    kind, statements = TAMPERINGS[how]
    await tamper(database, *statements)
    fault = await check(database)
    assert fault is not None
    assert fault.kind is kind
    if kind is FaultKind.ROW_INSERTED:
        # The export has the sealed rows alone, among which it has no place.
        assert fault.audit_id is not None
        return
    assert fault.seq == bad
    first, *_ = await check_file(await export(database))
    assert (first.kind, first.seq) == (kind, bad)


Change = Callable[[list[str], int], list[str]]


def altered(lines: list[str], at: int) -> list[str]:
    return [*lines[:at], lines[at].replace("thing:b", "thing:B"), *lines[at + 1 :]]


def deleted(lines: list[str], at: int) -> list[str]:
    return [*lines[:at], *lines[at + 1 :]]


def inserted(lines: list[str], at: int) -> list[str]:
    return [*lines[: at + 1], lines[at], *lines[at + 1 :]]


def reordered(lines: list[str], at: int) -> list[str]:
    """The rows change places and keep the numbers and links of the places."""
    here, there = lines[at].split(',"row":', 1), lines[at + 1].split(',"row":', 1)
    swapped = [f'{here[0]},"row":{there[1]}', f'{there[0]},"row":{here[1]}']
    return [*lines[:at], *swapped, *lines[at + 2 :]]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (altered, FaultKind.ROW_ALTERED),
        (deleted, FaultKind.LINK_MISSING),
        (inserted, FaultKind.ROW_INSERTED),
        (reordered, FaultKind.ROW_REORDERED),
    ],
)
async def test_a_change_of_an_exported_file_is_named(database: Database, change: Change, kind: FaultKind) -> None:
    bad = await sealed_rows(database)
    lines = await export(database)
    assert await check_file(lines) == []
    at = next(place for place, line in enumerate(lines) if '"thing:b"' in line)
    first, *_ = await check_file(change(lines, at))
    assert (first.kind, first.seq) == (kind, bad)


async def test_p3_trap_30_tail_that_was_cut_is_named_by_the_anchor_and_without_one_by_nothing(
    database: Database,
) -> None:
    await sealed_rows(database)
    anchors = await anchor(database)
    await tamper(
        database,
        "DELETE FROM audit_seals WHERE number = (SELECT max(number) FROM audit_seals)",
        "DELETE FROM audit_chain WHERE seq > (SELECT max(last_seq) FROM audit_seals)",
        "DELETE FROM audit_log WHERE id NOT IN (SELECT audit_id FROM audit_chain)",
    )
    assert await check(database) is None
    fault = await check(database, anchors=anchors)
    assert fault is not None
    assert (fault.kind, fault.seq) == (FaultKind.TAIL_CUT, len(await sealed_subjects(database)) + 1)


async def test_a_tail_that_was_cut_and_grew_again_is_not_the_one_that_was_anchored(database: Database) -> None:
    await sealed_rows(database)
    anchors = await anchor(database)
    await tamper(
        database,
        "DELETE FROM audit_seals WHERE number = (SELECT max(number) FROM audit_seals)",
        "DELETE FROM audit_chain WHERE seq > (SELECT max(last_seq) FROM audit_seals)",
        "DELETE FROM audit_log WHERE id NOT IN (SELECT audit_id FROM audit_chain)",
    )
    await write(database, "another end")
    await seal(database)
    assert await check(database) is None
    fault = await check(database, anchors=anchors)
    assert fault is not None
    assert fault.kind is FaultKind.SEAL_ALTERED
    assert "not the one that was anchored" in fault.message


async def test_a_file_that_was_cut_behind_a_seal_lacks_its_end(database: Database) -> None:
    await sealed_rows(database)
    lines = await export(database)
    with pytest.raises(ExportBroken, match="the file has no end"):
        await check_file(lines[:-1])
    forged_end = [*lines[:-3], lines[-1]]
    assert await check_file(forged_end) == []
    (fault,) = await check_file(forged_end, await earlier(database))
    assert fault.kind is FaultKind.TAIL_CUT


async def earlier(database: Database) -> Mapping[int, Anchor]:
    """The anchor as it was made before the file was."""
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    return {number: replace(each, at=long_ago) for number, each in (await anchor(database)).items()}


async def test_rows_made_anew_with_all_their_links_and_seals_are_told_by_the_anchor(database: Database) -> None:
    """Somebody who knows how rows are sealed makes the chain fit; only what left the house does not."""
    await sealed_rows(database)
    anchors = await anchor(database)
    await tamper(
        database,
        "DELETE FROM audit_seals",
        "DELETE FROM audit_chain",
        "UPDATE audit_log SET actor = 'somebody else' WHERE subject = 'thing:b'",
    )
    await seal(database)
    assert await check(database) is None
    fault = await check(database, anchors=anchors)
    assert fault is not None
    assert fault.kind in {FaultKind.SEAL_ALTERED, FaultKind.TAIL_CUT}
