"""How far the audit record is sealed and anchored, and how long the oldest row has waited for its seal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

LATE_AFTER = timedelta(seconds=60)

_NOTE_ANCHOR = text("""
    INSERT INTO audit_anchors (seal_number, line, places) VALUES (:seal_number, :line, CAST(:places AS text[]))
""")

_STANDING = text("""
    WITH newest AS (SELECT * FROM audit_seals ORDER BY number DESC LIMIT 1),
    waiting AS (
        SELECT at FROM audit_log
        WHERE xact >= coalesce((SELECT horizon FROM newest), 0) ORDER BY xact, id LIMIT 1
    ),
    anchored AS (
        SELECT a.anchored_at, a.places, s.last_seq
        FROM audit_anchors a JOIN audit_seals s ON s.number = a.seal_number ORDER BY a.id DESC LIMIT 1
    )
    SELECT n.number, n.last_seq, n.digest, n.sealed_at,
           (SELECT clock_timestamp() - at FROM waiting) AS unsealed_for,
           anchored.last_seq AS anchored_seq, anchored.anchored_at, anchored.places,
           (SELECT count(*) FROM audit_faults WHERE accepted_at IS NULL) AS faults
    FROM (VALUES (1)) AS one LEFT JOIN newest n ON true LEFT JOIN anchored ON true
""")


@dataclass(frozen=True, kw_only=True)
class AuditStanding:
    """`unsealed_for` is the age of the oldest row without a seal; None where every row has one."""

    sealed_seq: int
    digest: bytes | None
    sealed_at: datetime | None
    unsealed_for: timedelta | None
    anchored_seq: int | None
    anchored_at: datetime | None
    places: Sequence[str]
    faults: int

    @property
    def late(self) -> bool:
        """Whether rows wait longer than a transaction may take: nobody seals, or somebody holds it up."""
        return self.unsealed_for is not None and self.unsealed_for > LATE_AFTER


async def note_anchor(connection: AsyncConnection, seal_number: int, *, line: str, places: Sequence[str]) -> None:
    await connection.execute(_NOTE_ANCHOR, {"seal_number": seal_number, "line": line, "places": list(places)})


async def read_audit_standing(connection: AsyncConnection) -> AuditStanding:
    row = (await connection.execute(_STANDING)).mappings().one()
    return AuditStanding(
        sealed_seq=row["last_seq"] or 0,
        digest=row["digest"],
        sealed_at=row["sealed_at"],
        unsealed_for=row["unsealed_for"],
        anchored_seq=row["anchored_seq"],
        anchored_at=row["anchored_at"],
        places=row["places"] or [],
        faults=row["faults"],
    )
