"""The audit record as people read it, each row with its place in the chain once it is sealed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_ROWS = text("""
    SELECT a.*, c.seq, c.hash
    FROM audit_log a LEFT JOIN audit_chain c ON c.audit_id = a.id
    WHERE (CAST(:actor AS text) IS NULL OR a.actor = :actor)
        AND (CAST(:action AS text) IS NULL OR a.action = :action OR a.action LIKE :action || '.%')
        AND (CAST(:subject AS text) IS NULL OR a.subject = :subject)
        AND (CAST(:request_id AS text) IS NULL OR a.request_id = :request_id)
        AND (CAST(:since AS timestamptz) IS NULL OR a.at >= :since)
        AND (CAST(:until AS timestamptz) IS NULL OR a.at < :until)
        AND (CAST(:before AS bigint) IS NULL OR a.id < :before)
    ORDER BY a.id DESC LIMIT :limit
""")


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Which rows; None leaves a field open. `action` also stands for what begins with it, as `trade` does."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_audit(
    connection: AsyncConnection, wanted: AuditFilter, *, limit: int, before: int | None = None
) -> list[dict[str, Any]]:
    """The newest first, from behind `before`, the id of the last one seen."""
    asked = {**vars(wanted), "limit": limit, "before": before}
    return [dict(row) for row in (await connection.execute(_ROWS, asked)).mappings()]
