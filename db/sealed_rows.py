"""Reading what is sealed, batch by batch, as it is checked and exported. One snapshot shows one chain."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.seals import ROW_TEXT, sealed_of
from domain.audit import Fault, FaultKind, Seal, leaf
from domain.audit_check import SealedBatch, SealedRow

# Below every transaction, so that nothing hides before the first seal.
LOWEST = -(2**63)

# So many rows are held in memory at once, about 20 MB of them; one seal's are never parted.
ROWS_AT_ONCE = 20_000

_SEALS = text("""
    SELECT * FROM audit_seals WHERE number > :after
    AND last_seq <= greatest(
        (SELECT first_seq FROM audit_seals WHERE number > :after ORDER BY number LIMIT 1) + :most,
        (SELECT last_seq FROM audit_seals WHERE number > :after ORDER BY number LIMIT 1))
    ORDER BY number
""")

_ROWS = text(f"""
    SELECT c.seq, c.audit_id, c.hash, a.xact, {ROW_TEXT} AS text, a.id IS NULL AS gone
    FROM audit_chain c LEFT JOIN audit_log a ON a.id = c.audit_id
    WHERE c.seq BETWEEN :first AND :last ORDER BY c.seq
""")  # noqa: S608 - a constant

_TEXTS = text(f"""
    SELECT {ROW_TEXT} FROM audit_chain c JOIN audit_log a ON a.id = c.audit_id
    WHERE c.seq BETWEEN :first AND :last ORDER BY c.seq
""")  # noqa: S608 - a constant

_FORGED = text("""
    SELECT id, xact FROM audit_log
    WHERE xact >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint ORDER BY xact, id LIMIT 20
""")

_REPLACED = text("""
    SELECT CAST(oid AS bigint) AS oid, relname FROM pg_catalog.pg_class
    WHERE oid IN ('public.audit_log'::regclass, 'public.audit_chain'::regclass, 'public.audit_seals'::regclass)
        AND (relkind <> 'r' OR relrowsecurity OR relhasrules)
    ORDER BY relname
""")

_STRANGER = text("""
    SELECT id, xact FROM audit_log a
    WHERE xact >= :since AND xact < :horizon AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.audit_id = a.id)
    ORDER BY xact, id LIMIT 100
""")


async def read_sealed(
    connection: AsyncConnection, *, after: int = 0, since: int = LOWEST
) -> AsyncIterator[SealedBatch]:
    """The seals behind number `after`, whose horizon is `since`, in order, with what stands at their rows now."""
    while True:
        found = (await connection.execute(_SEALS, {"after": after, "most": ROWS_AT_ONCE})).mappings().all()
        if not found:
            return
        seals = [sealed_of(row) for row in found]
        place = {"first": seals[0].seal.first_seq, "last": seals[-1].seal.last_seq}
        rows = [_row(row) for row in await connection.execute(_ROWS, place)]
        whole = {"since": since, "horizon": seals[-1].seal.horizon}
        strangers = (await connection.execute(_STRANGER, whole)).all()
        taken = 0
        for sealed in seals:
            begin = taken
            while taken < len(rows) and rows[taken].seq <= sealed.seal.last_seq:
                taken += 1
            among = [each.id for each in strangers if since <= each.xact < sealed.seal.horizon]
            yield SealedBatch(
                seal=sealed.seal,
                digest=sealed.digest,
                rows=rows[begin:taken],
                strangers=among,
            )
            after, since = sealed.seal.number, sealed.seal.horizon


async def read_oddities(connection: AsyncConnection) -> list[Fault]:
    """What no pass over the chain can see: rows that no seal would ever reach, and tables that are none."""
    forged = [
        Fault(
            kind=FaultKind.ROW_INSERTED,
            message=f"the row with id {row.id} says that it was written by transaction {row.xact}, "
            "which is still to come",
            seal_number=0,
            audit_id=row.id,
        )
        for row in await connection.execute(_FORGED)
    ]
    replaced = [
        Fault(
            kind=FaultKind.TABLE_REPLACED,
            message=f"{row.relname} is no plain table any more: it may show other rows than it has",
            seal_number=0,
            audit_id=row.oid,
        )
        for row in await connection.execute(_REPLACED)
    ]
    return forged + replaced


async def leaves_of(connection: AsyncConnection, seal: Seal) -> list[bytes]:
    """The leaf hashes of a seal's rows, as they stand now."""
    place = {"first": seal.first_seq, "last": seal.last_seq}
    return [leaf(row.encode()) for row in await connection.scalars(_TEXTS, place)]


def _row(row: Row[Any]) -> SealedRow:
    return SealedRow(
        seq=row.seq,
        audit_id=row.audit_id,
        hash=row.hash,
        text=None if row.gone else row.text.encode(),
        order=(row.xact or 0, row.audit_id),
    )
