"""Sealing the audit rows: in the order of their transactions, each row once, whole transactions together.

1. Only rows of transactions older than the oldest that still runs are sealed: nothing commits behind a seal.
2. A seal and its links are one transaction. A sealer that dies leaves either both or neither.
3. Sealers wait for each other, so that several of them make one chain.
"""

from dataclasses import dataclass

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.audit import ORIGIN, Seal, leaf, link, merkle_root

# The text that a row is hashed and exported as. A function in the database could be made to lie; this cannot.
ROW_TEXT = """
    jsonb_build_object(
        'id', a.id, 'xact', a.xact,
        'at', to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'actor', a.actor, 'action', a.action, 'subject', a.subject, 'detail', a.detail,
        'address', a.address, 'request_id', a.request_id, 'trace_id', a.trace_id,
        'key_id', a.key_id, 'process', a.process, 'role', a.role, 'version', a.version
    )::text
"""

# Only the sealer's role may lock it, so that nobody else keeps rows unsealed.
_TURN = text("SELECT FROM audit_sealing FOR UPDATE")

_NEWEST = text("SELECT * FROM audit_seals ORDER BY number DESC LIMIT 1")

_EDGE = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")

# Where a batch of so many rows ends: before the transaction whose rows would make it longer.
_BOUND = text("""
    SELECT greatest(
        (SELECT xact FROM audit_log WHERE xact >= :since AND xact < :edge ORDER BY xact, id OFFSET :most LIMIT 1),
        (SELECT min(xact) + 1 FROM audit_log WHERE xact >= :since AND xact < :edge)
    ) WHERE EXISTS (
        SELECT FROM audit_log WHERE xact >= :since AND xact < :edge OFFSET :most
    )
""")

_ROWS = text(f"""
    SELECT a.id, {ROW_TEXT} AS text FROM audit_log a
    WHERE a.xact >= :since AND a.xact < :horizon ORDER BY a.xact, a.id
""")  # noqa: S608 - a constant

_LINKS = text("""
    INSERT INTO audit_chain (seq, audit_id, hash)
    SELECT * FROM unnest(CAST(:seqs AS bigint[]), CAST(:ids AS bigint[]), CAST(:hashes AS bytea[]))
""")

_SEAL = text("""
    INSERT INTO audit_seals (number, first_seq, last_seq, horizon, root, head, digest)
    VALUES (:number, :first_seq, :last_seq, :horizon, :root, :head, :digest)
""")


class TransactionsWentBack(Exception):
    """The order in which rows are sealed is lost; new rows would fall behind the last seal."""


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A seal that stands, and the digest that whoever anchors it signs."""

    seal: Seal
    digest: bytes


async def seal_next(connection: AsyncConnection, *, most: int) -> Sealed | None:
    """Seal the rows that no running transaction can add to, about `most` of them; None if there are none.

    Raises TransactionsWentBack where the server counts its transactions from below what is sealed.
    """
    await connection.execute(_TURN)
    newest = await newest_seal(connection)
    since = newest.seal.horizon if newest else 0
    edge = int(await connection.scalar(_EDGE) or 0)
    if edge < since:
        raise TransactionsWentBack(
            f"rows are sealed up to transaction {since}, and the server is at {edge}: it was set up anew from a "
            "dump; let it count on from there before anything is written (pg_resetwal --next-transaction-id)"
        )
    place = {"since": since, "edge": edge, "most": most}
    horizon = await connection.scalar(_BOUND, place) or edge
    rows = (await connection.execute(_ROWS, {"since": since, "horizon": horizon})).all()
    if not rows:
        return None
    sealed = _make(newest, [row.text.encode() for row in rows], horizon=horizon)
    first = sealed.sealed.seal.first_seq
    await connection.execute(
        _LINKS,
        {
            "seqs": list(range(first, first + len(rows))),
            "ids": [row.id for row in rows],
            "hashes": sealed.hashes,
        },
    )
    await connection.execute(_SEAL, {**vars(sealed.sealed.seal), "digest": sealed.sealed.digest})
    return sealed.sealed


async def newest_seal(connection: AsyncConnection) -> Sealed | None:
    row = (await connection.execute(_NEWEST)).mappings().one_or_none()
    return None if row is None else sealed_of(row)


def sealed_of(row: RowMapping) -> Sealed:
    names = ("number", "first_seq", "last_seq", "horizon", "root", "head")
    return Sealed(seal=Seal(**{name: row[name] for name in names}), digest=row["digest"])


@dataclass(frozen=True, kw_only=True)
class _Batch:
    sealed: Sealed
    hashes: list[bytes]


def _make(newest: Sealed | None, texts: list[bytes], *, horizon: int) -> _Batch:
    hashes, head = [], newest.seal.head if newest else ORIGIN
    leaves = [leaf(each) for each in texts]
    for each in leaves:
        head = link(head, each)
        hashes.append(head)
    first = newest.seal.last_seq + 1 if newest else 1
    seal = Seal(
        number=newest.seal.number + 1 if newest else 1,
        first_seq=first,
        last_seq=first + len(texts) - 1,
        horizon=horizon,
        root=merkle_root(leaves),
        head=head,
    )
    digest = seal.digest(newest.digest if newest else ORIGIN)
    return _Batch(sealed=Sealed(seal=seal, digest=digest), hashes=hashes)
