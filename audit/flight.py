"""The flight record of a trade: everything that is known of it in one signed file, which proves itself offline.

Each audit row comes with its path to the root of its seal, and the seals from there on to one that was anchored;
so no row of the record is another than the one that was sealed, and no seal was made later than its anchor.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from audit.anchors import read_anchors
from audit.signing import SignatureWrong, Signer, check_signature
from db.jsons import loads, plain
from db.sealed_rows import leaves_of
from db.seals import ROW_TEXT, sealed_of
from domain.audit import ORIGIN, Seal, leaf, merkle_path, root_by_path
from version import code_version

_TRADE = text("""
    SELECT (to_jsonb(t) || jsonb_build_object(
        'account', a.slug, 'currency', a.currency, 'username', u.username))::text
    FROM trade_ledger t JOIN broker_accounts a ON a.id = t.account_id JOIN users u ON u.id = t.user_id
    WHERE t.id = :trade_id
""")

# Each table with rows of the trade, and in which order they are shown.
_PARTS = {
    "attempts": ("send_attempts", "number"),
    "commands": ("trade_commands", "requested_at, key"),
    "reservation": ("risk_reservations", "trade_id"),
    "reservation_changes": ("risk_adjustments", "id"),
    "deals": ("fills", "executed_at, ticket, revision"),
    "ledger": ("ledger_entries", "posted_at, event_id, line"),
    "events": ("events", "id"),
    "alerts": ("alerts", "id"),
}
_PART = "SELECT to_jsonb(x)::text FROM {table} x WHERE trade_id = :trade_id ORDER BY {order}"

_ROWS = text(f"""
    SELECT c.seq, {ROW_TEXT} AS text, s.number, s.first_seq, s.last_seq, s.horizon, s.root, s.head, s.digest
    FROM audit_log a
    LEFT JOIN audit_chain c ON c.audit_id = a.id
    LEFT JOIN audit_seals s ON c.seq BETWEEN s.first_seq AND s.last_seq
    WHERE a.subject = :subject OR a.subject IN (
        SELECT 'fill:' || ticket FROM fills WHERE trade_id = :trade_id)
    ORDER BY a.xact, a.id
""")  # noqa: S608 - a constant

_ANCHOR = text("""
    SELECT line, seal_number FROM audit_anchors WHERE seal_number >= :seal ORDER BY seal_number, id LIMIT 1
""")
_SEALS = text("SELECT * FROM audit_seals WHERE number BETWEEN :first AND :last ORDER BY number")
_BEFORE = text("SELECT digest FROM audit_seals WHERE number = :number")


class TradeUnknown(Exception):
    """There is no such trade in the books."""


class FlightBroken(Exception):
    """The record is not what it was when it was made; the message says where."""


async def make_flight(
    connection: AsyncConnection,
    trade_id: UUID,
    *,
    history: Mapping[str, Any] | None,
    signer: Signer,
    now: datetime,
) -> dict[str, Any]:
    """Everything of the trade; `history` is that of its workflow, None if Temporal keeps it no more."""
    trade = await connection.scalar(_TRADE, {"trade_id": trade_id})
    if trade is None:
        raise TradeUnknown(f"there is no trade {trade_id}")
    parts = {
        name: [
            loads(row)
            for row in await connection.scalars(
                text(_PART.format(table=table, order=order)), {"trade_id": trade_id}
            )
        ]
        for name, (table, order) in _PARTS.items()
    }
    record = {
        "flight": 1,
        "made_at": now.isoformat(),
        "version": code_version(),
        "trade": loads(trade),
        **parts,
        "workflow_history": history,
        "audit": await _proofs(connection, trade_id),
    }
    return signer.sign(plain(record))


async def _proofs(connection: AsyncConnection, trade_id: UUID) -> dict[str, Any]:
    asked = {"subject": f"trade:{trade_id}", "trade_id": trade_id}
    rows = (await connection.execute(_ROWS, asked)).mappings().all()
    sealed = {row["number"]: sealed_of(row) for row in rows if row["number"] is not None}
    shown = []
    for row in rows:
        proof: dict[str, Any] = {"row": row["text"], "seq": row["seq"], "seal": row["number"]}
        if row["number"] is not None:
            seal = sealed[row["number"]].seal
            leaves = await leaves_of(connection, seal)
            path = merkle_path(leaves, row["seq"] - seal.first_seq)
            proof["path"] = [each.hex() for each in path]
        shown.append(proof)
    return {"rows": shown, **await _seals(connection, list(sealed))}


async def _seals(connection: AsyncConnection, numbers: Sequence[int]) -> dict[str, Any]:
    """The seals from the first that has a row of the trade on, up to the anchor behind the last one."""
    if not numbers:
        return {"before": None, "seals": [], "anchor": None}
    first, last = min(numbers), max(numbers)
    anchor = (await connection.execute(_ANCHOR, {"seal": last})).mappings().one_or_none()
    until = last if anchor is None else anchor["seal_number"]
    between = {"first": first, "last": until}
    seals = [sealed_of(row) for row in (await connection.execute(_SEALS, between)).mappings()]
    before = await connection.scalar(_BEFORE, {"number": first - 1})
    return {
        "before": None if before is None else before.hex(),
        "seals": [_written(each.seal) | {"digest": each.digest.hex()} for each in seals],
        "anchor": None if anchor is None else anchor["line"],
    }


def _written(seal: Seal) -> dict[str, Any]:
    return {**vars(seal), "root": seal.root.hex(), "head": seal.head.hex()}


@dataclass(frozen=True, kw_only=True)
class Proven:
    """What a record proves: how many audit rows, how many of them under a seal, and when that was anchored."""

    trade_id: str
    rows: int
    sealed: int
    anchored_at: datetime | None


def check_flight(record: Mapping[str, Any], *, trusted: Collection[str] | None) -> Proven:
    """Prove a record by itself and the public key. Raises FlightBroken."""
    try:
        check_signature(record, trusted=trusted)
        audit = record["audit"]
        seals = _check_seals(audit)
        for number, proof in enumerate(audit["rows"], start=1):
            if proof["seal"] is not None and not _stands(proof, seals):
                raise FlightBroken(f"audit row {number} of the record is not under the seal that it names")
        anchor = read_anchors([] if audit["anchor"] is None else [audit["anchor"]], trusted=trusted)
        if anchor.bad:
            raise FlightBroken(str(anchor.bad[0]))
        for each in anchor.good.values():
            if each.seal_number not in seals or seals[each.seal_number][1] != each.digest:
                raise FlightBroken("the anchor is not of the record's seals")
        return Proven(
            trade_id=record["trade"]["id"],
            rows=len(audit["rows"]),
            sealed=sum(proof["seal"] is not None for proof in audit["rows"]),
            anchored_at=next((each.at for each in anchor.good.values()), None),
        )
    except SignatureWrong as error:
        raise FlightBroken(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FlightBroken(f"it is no flight record of format 1: {type(error).__name__} {error}") from error


def _check_seals(audit: Mapping[str, Any]) -> dict[int, tuple[Seal, bytes]]:
    before = ORIGIN if audit["before"] is None else bytes.fromhex(audit["before"])
    found: dict[int, tuple[Seal, bytes]] = {}
    for written in audit["seals"]:
        seal = Seal(
            **{name: written[name] for name in ("number", "first_seq", "last_seq", "horizon")},
            root=bytes.fromhex(written["root"]),
            head=bytes.fromhex(written["head"]),
        )
        before = seal.digest(before)
        if before.hex() != written["digest"]:
            raise FlightBroken(f"seal {seal.number} does not follow the one before it")
        found[seal.number] = (seal, before)
    return found


def _stands(proof: Mapping[str, Any], seals: Mapping[int, tuple[Seal, bytes]]) -> bool:
    seal, _ = seals[proof["seal"]]
    root = root_by_path(
        leaf(proof["row"].encode()),
        index=proof["seq"] - seal.first_seq,
        size=seal.last_seq - seal.first_seq + 1,
        path=[bytes.fromhex(each) for each in proof["path"]],
    )
    return root == seal.root
