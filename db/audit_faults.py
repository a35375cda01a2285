"""What was found not to be as it was sealed: noted once, told, and standing until a person has looked into it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import raise_alert, record
from domain.audit import Fault, FaultKind

_NOTE = text("""
    INSERT INTO audit_faults (kind, seal_number, seq, message) VALUES (:kind, :seal_number, :seq, :message)
    ON CONFLICT (kind, seal_number, seq) DO NOTHING
    RETURNING id
""")

_STANDING = text("SELECT * FROM audit_faults WHERE accepted_at IS NULL ORDER BY id")

_ALL = text("SELECT * FROM audit_faults ORDER BY id")

_ACCEPT = text("""
    UPDATE audit_faults SET accepted_at = clock_timestamp(), accepted_by = :actor, reason = :reason
    WHERE id = :id AND accepted_at IS NULL
    RETURNING *
""")


@dataclass(frozen=True, kw_only=True)
class NotedFault:
    id: int
    kind: FaultKind
    message: str
    found_at: datetime
    accepted_at: datetime | None
    accepted_by: str | None
    reason: str | None


async def note(connection: AsyncConnection, fault: Fault) -> bool:
    """Note a fault and raise its alert; False if it was noted before."""
    # Behind a cut the chain grows again, and the same cut is found at another row each time.
    seq = 0 if fault.kind is FaultKind.TAIL_CUT else fault.seq or fault.audit_id or 0
    place = {"kind": fault.kind, "seal_number": fault.seal_number, "seq": seq}
    noted = await connection.scalar(_NOTE, {**place, "message": fault.message})
    if noted is None:
        return False
    await raise_alert(
        connection,
        "audit_broken",
        key=f"audit_broken:{noted}",
        severity="critical",
        summary=f"the audit record is not as it was sealed: {fault.message}",
        account_id=None,
        trade_id=None,
    )
    return True


async def list_standing(connection: AsyncConnection) -> list[NotedFault]:
    """Those that nobody has looked into, the oldest first."""
    return await _list(connection, _STANDING)


async def list_all(connection: AsyncConnection) -> list[NotedFault]:
    return await _list(connection, _ALL)


async def accept(connection: AsyncConnection, fault_id: int, *, actor: str, reason: str) -> NotedFault | None:
    """Let a person have the last word on a fault; None if there is none that stands under this number."""
    row = (
        (await connection.execute(_ACCEPT, {"id": fault_id, "actor": actor, "reason": reason}))
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    await record(
        connection,
        "audit.fault_accepted",
        actor=actor,
        subject=f"audit_fault:{fault_id}",
        detail={"kind": row["kind"], "message": row["message"], "reason": reason},
    )
    return _fault(row)


async def _list(connection: AsyncConnection, statement: TextClause) -> list[NotedFault]:
    return [_fault(row) for row in (await connection.execute(statement)).mappings()]


def _fault(row: RowMapping) -> NotedFault:
    return NotedFault(
        id=row["id"],
        kind=FaultKind(row["kind"]),
        message=row["message"],
        found_at=row["found_at"],
        accepted_at=row["accepted_at"],
        accepted_by=row["accepted_by"],
        reason=row["reason"],
    )
