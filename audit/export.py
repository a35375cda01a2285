"""The sealed record as a file that is checked without the database.

One JSON object per line: a header with the newest anchors, then each seal behind its rows, then the end. A row
stands in its line byte for byte as it was hashed.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.sealed_rows import read_sealed
from db.seals import sealed_of
from domain.audit import ORIGIN, Seal
from domain.audit_check import Anchor, ChainCheck, SealedBatch, SealedRow
from version import code_version

_BEFORE = text("SELECT * FROM audit_seals WHERE last_seq < :seq ORDER BY number DESC LIMIT 1")
_ANCHORS = text("SELECT line FROM audit_anchors WHERE seal_number > :after ORDER BY id DESC LIMIT 1000")

_ROW = '{{"seq":{seq},"hash":"{hash}","row":{row}}}'
_ROW_BEGINS, _ROW_TEXT = '{"seq":', ',"row":'


class ExportBroken(Exception):
    """The file is not one that was exported, or not all of it; the message names the line."""


async def write_export(
    connection: AsyncConnection, write: Callable[[str], object], *, since_seq: int, now: datetime
) -> int:
    """Write the seals from that of row `since_seq` on, line by line; how many rows there were."""
    row = (await connection.execute(_BEFORE, {"seq": since_seq})).mappings().one_or_none()
    before = None if row is None else sealed_of(row)
    after = before.seal.number if before else 0
    anchors = await connection.scalars(_ANCHORS, {"after": after})
    header = {
        "audit_export": 1,
        "exported_at": now.isoformat(),
        "version": code_version(),
        "after_seal": after,
        "after_seq": before.seal.last_seq if before else 0,
        "head": (before.seal.head if before else ORIGIN).hex(),
        "digest": (before.digest if before else ORIGIN).hex(),
        "anchors": [json.loads(line) for line in anchors],
    }
    write(_line(header))
    rows = 0
    since = before.seal.horizon if before else 0
    async for batch in read_sealed(connection, after=after, since=since):
        for each in batch.rows:
            # A row that is gone leaves its place, which whoever checks the file will name.
            row_text = "null" if each.text is None else each.text.decode()
            write(_ROW.format(seq=each.seq, hash=each.hash.hex(), row=row_text) + "\n")
        write(_line(_seal_line(batch)))
        rows, after = rows + len(batch.rows), batch.seal.number
    write(_line({"end": after, "rows": rows}))
    return rows


class Export:
    """A file that was exported, read once from its begin to its end."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Raises ExportBroken where the first line is not that of an export."""
        self._lines = enumerate(lines, start=1)
        header = self._parse(*next(self._lines, (1, "")))
        if header.get("audit_export") != 1:
            raise ExportBroken("line 1 is not the header of an audit export of format 1")
        self._header = header
        self.after_seq = int(header["after_seq"])
        self.exported_at = datetime.fromisoformat(header["exported_at"])
        self.anchor_lines = [json.dumps(each) + "\n" for each in reversed(header["anchors"])]

    def check(self, anchors: Mapping[int, Anchor]) -> ChainCheck:
        """A pass that begins where the file does; what comes before is taken as its header has it.

        Anchors that were made after the file was say nothing of where it ends.
        """
        header = self._header
        return ChainCheck(
            anchors={number: anchor for number, anchor in anchors.items() if anchor.at <= self.exported_at},
            number=int(header["after_seal"]),
            seq=self.after_seq,
            head=bytes.fromhex(header["head"]),
            digest=bytes.fromhex(header["digest"]),
        )

    async def batches(self) -> AsyncIterator[SealedBatch]:
        """Seal by seal; raises ExportBroken where a line cannot be read, and where the end is missing."""
        for batch in self._batches():
            yield batch

    def _batches(self) -> Iterator[SealedBatch]:
        rows: list[SealedRow] = []
        for number, line in self._lines:
            if line.startswith(_ROW_BEGINS):
                rows.append(_row(number, line))
                continue
            document = self._parse(number, line)
            if "seal" in document:
                yield _batch(number, document, rows)
                rows = []
            elif "end" in document:
                return
            else:
                raise ExportBroken(f"line {number} is neither a row nor a seal")
        raise ExportBroken("the file has no end; it was cut off, or is still being written")

    @staticmethod
    def _parse(number: int, line: str) -> dict[str, Any]:
        try:
            document = json.loads(line)
        except ValueError as error:
            raise ExportBroken(f"line {number} is no JSON") from error
        if not isinstance(document, dict):
            raise ExportBroken(f"line {number} is no JSON object")
        return document


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":")) + "\n"


def _seal_line(batch: SealedBatch) -> dict[str, Any]:
    seal = batch.seal
    return {
        "seal": seal.number,
        "first_seq": seal.first_seq,
        "last_seq": seal.last_seq,
        "horizon": seal.horizon,
        "root": seal.root.hex(),
        "head": seal.head.hex(),
        "digest": batch.digest.hex(),
    }


def _row(number: int, line: str) -> SealedRow:
    begin = line.find(_ROW_TEXT)
    row_text = line.rstrip("\n")[begin + len(_ROW_TEXT) : -1]
    try:
        place = json.loads(line[:begin] + "}")
        row = json.loads(row_text)
        if row is None:
            return SealedRow(
                seq=place["seq"], audit_id=0, hash=bytes.fromhex(place["hash"]), text=None, order=(0, 0)
            )
        return SealedRow(
            seq=place["seq"],
            audit_id=row["id"],
            hash=bytes.fromhex(place["hash"]),
            text=row_text.encode(),
            order=(row["xact"], row["id"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ExportBroken(f"line {number} is no row as it was exported") from error


def _batch(number: int, document: dict[str, Any], rows: list[SealedRow]) -> SealedBatch:
    try:
        seal = Seal(
            number=document["seal"],
            first_seq=document["first_seq"],
            last_seq=document["last_seq"],
            horizon=document["horizon"],
            root=bytes.fromhex(document["root"]),
            head=bytes.fromhex(document["head"]),
        )
        return SealedBatch(seal=seal, digest=bytes.fromhex(document["digest"]), rows=rows)
    except (ValueError, TypeError, KeyError) as error:
        raise ExportBroken(f"line {number} is no seal as it was exported") from error
