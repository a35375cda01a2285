"""`nexus audit`: what a person sees of a good record, of a bad one, and of an exported file."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from audit.anchors import FilePlace, make_anchor
from audit.signing import Signer
from db import audit_faults
from db.seals import newest_seal
from domain.audit import Fault, FaultKind
from stack.cli import app
from stack.scratch import Database
from tests.db.auditing import seal, tamper, write

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
SIGNER = Signer(KEY.encode())


class Desk:
    """A database, its anchors, and the command line on both."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.anchors = folder / "anchors.jsonl"
        self.folder = folder

    async def nexus(self, *words: str) -> Result:
        environment = {
            "DATABASE_URL": self.database.urls["owner"],
            "AUDIT_SIGNING_KEY": KEY,
            "AUDIT_ANCHOR_PATH": str(self.anchors),
            "STATE_DIR": str(self.folder),
        }
        return await asyncio.to_thread(CliRunner().invoke, app, ["audit", *words], env=environment)

    async def anchor(self) -> None:
        async with self.database.engine("sealer").connect() as connection:
            newest = await newest_seal(connection)
        assert newest is not None
        await FilePlace(self.anchors).put(make_anchor(newest, SIGNER, now=datetime.now(UTC)))


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> Desk:
    made = Desk(database, tmp_path)
    await write(database, "a", "b", "c")
    await seal(database)
    await made.anchor()
    await write(database, "d")
    await seal(database)
    return made


async def test_a_good_record_is_good_and_says_up_to_where_it_was_held_against_anchors(desk: Desk) -> None:
    result = await desk.nexus("verify")
    assert result.exit_code == 0, result.output
    assert "the chain is good up to row" in result.output
    assert "held against anchors up to row" in result.output


async def test_a_bad_row_is_named_first_and_the_exit_code_tells_scripts(desk: Desk) -> None:
    await tamper(desk.database, "UPDATE audit_log SET actor = 'x' WHERE subject IN ('thing:b', 'thing:d')")
    result = await desk.nexus("verify")
    assert result.exit_code == 1
    first, *more = result.output.splitlines()
    assert first.startswith("first fault: row ")
    assert "is not what was sealed" in first
    assert [line.startswith("also: row ") for line in more] == [True]


async def test_an_export_is_checked_without_the_database_and_the_anchors_tell_of_a_cut_end(desk: Desk) -> None:
    out = desk.folder / "audit.jsonl"
    result = await desk.nexus("export", str(out))
    assert result.exit_code == 0, result.output
    result = await desk.nexus("verify", str(out))
    assert result.exit_code == 0, result.output
    assert "as exported at" in result.output

    lines = out.read_text().splitlines(keepends=True)
    cut = desk.folder / "cut.jsonl"
    cut.write_text("".join([lines[0], lines[-1]]))
    result = await desk.nexus("verify", str(cut))
    assert result.exit_code == 1
    assert "were cut off" in result.output

    result = await desk.nexus("export", str(out))
    assert (result.exit_code, "exists already" in str(result.exception or result.output)) == (1, True)


async def test_a_file_that_is_no_export_is_named(desk: Desk) -> None:
    path = desk.folder / "notes.txt"
    path.write_text("hello\n")
    result = await desk.nexus("verify", str(path))
    assert result.exit_code == 1
    assert "line 1 is no JSON" in str(result.exception)


async def test_anchors_of_another_key_are_refused_by_name(desk: Desk) -> None:
    result = await desk.nexus("verify", "--public-key", Signer(b"another key that nobody ever used").public_key)
    assert result.exit_code == 1
    assert "it is signed by the key" in result.output
    result = await desk.nexus("public-key")
    assert result.output.strip() == SIGNER.public_key


async def test_a_fault_is_shown_until_somebody_accepts_it_with_a_reason(desk: Desk) -> None:
    assert (await desk.nexus("status")).exit_code == 0
    async with desk.database.engine("sealer").begin() as connection:
        await audit_faults.note(connection, Fault(kind=FaultKind.TAIL_CUT, message="rows are gone", seal_number=3))
    result = await desk.nexus("status")
    assert result.exit_code == 1
    assert "rows are gone" in result.output
    number = result.output.partition("fault ")[2].partition(",")[0]

    result = await desk.nexus("accept", number, "--reason", "restored from the backup of midnight")
    assert result.exit_code == 0, result.output
    assert (await desk.nexus("status")).exit_code == 0
    result = await desk.nexus("accept", number, "--reason", "restored from the backup of midnight")
    assert "no fault" in str(result.exception)
