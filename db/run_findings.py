"""What a run of the reconciliation saw differ or found gone, and what still waits beside it."""

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# What waits for a person keeps the run that saw it last, though a later one may find it in motion.
_FINDINGS = text("""
    SELECT id, kind, subject, state, tier, ours, theirs, impact_usd, cause FROM discrepancies
    WHERE account_id = :account_id AND (last_run_id = :run_id OR state IN ('kept_out', 'open', 'disputed'))
    ORDER BY found_at, kind, subject
""")


async def list_findings(connection: AsyncConnection, account_id: UUID, *, run_id: UUID) -> list[dict[str, Any]]:
    """The discrepancies of the account that this run was the last to look at or left waiting, the oldest first."""
    place = {"account_id": account_id, "run_id": run_id}
    return [dict(row) for row in (await connection.execute(_FINDINGS, place)).mappings()]
