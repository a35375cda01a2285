"""Runs and discrepancies as people read them. A user sees those of the accounts that the user trades on."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.discrepancies import DiscrepancyState
from domain.reconciliation import Verdict

_SEEN = """
    (CAST(:user_id AS uuid) IS NULL OR EXISTS (
        SELECT FROM account_users u WHERE u.account_id = a.id AND u.user_id = :user_id))
    AND (CAST(:account AS text) IS NULL OR a.slug = :account)
"""

_RUNS = text(f"""
    SELECT r.*, a.slug AS account, a.currency
    FROM reconciliation_log r JOIN broker_accounts a ON a.id = r.account_id
    WHERE {_SEEN} AND (CAST(:verdict AS text) IS NULL OR r.verdict = :verdict)
        AND (CAST(:run_id AS uuid) IS NULL OR r.id = :run_id)
        AND (CAST(:before_at AS timestamptz) IS NULL
             OR (r.ended_at, r.id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid)))
    ORDER BY r.ended_at DESC, r.id DESC LIMIT :limit
""")  # noqa: S608 - what is put in are our own constants

# `floating` is what the broker shows now for the position that differs, if it is open there.
_DISCREPANCIES = text(f"""
    SELECT d.*, a.slug AS account, a.currency,
           (SELECT p.profit + p.swap FROM broker_positions p
            WHERE p.account_id = d.account_id AND p.position_id = d.number) AS floating
    FROM discrepancies d JOIN broker_accounts a ON a.id = d.account_id
    WHERE {_SEEN} AND (CAST(:state AS text) IS NULL OR d.state = :state)
        AND (CAST(:waiting AS boolean) IS NULL OR :waiting = (d.state IN ('kept_out', 'open', 'disputed')))
        AND (CAST(:discrepancy_id AS uuid) IS NULL OR d.id = :discrepancy_id)
        AND (CAST(:before_at AS timestamptz) IS NULL
             OR (d.found_at, d.id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid)))
    ORDER BY d.found_at DESC, d.id DESC LIMIT :limit
""")  # noqa: S608 - what is put in are our own constants

Before = tuple[datetime, UUID] | None


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs; None leaves a field open. `user_id` None shows those of all accounts."""

    user_id: UUID | None
    account: str | None = None
    verdict: Verdict | None = None
    run_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class DiscrepancyFilter:
    """Which discrepancies; None leaves a field open. `user_id` None shows those of all accounts."""

    user_id: UUID | None
    account: str | None = None
    state: DiscrepancyState | None = None
    waiting: bool | None = None
    discrepancy_id: UUID | None = None


async def list_runs(
    connection: AsyncConnection, wanted: RunFilter, *, limit: int, before: Before = None
) -> list[dict[str, Any]]:
    """The newest first, from behind `before`, the end and id of the last one seen."""
    at, row_id = before or (None, None)
    asked = {**vars(wanted), "limit": limit, "before_at": at, "before_id": row_id}
    return [dict(row) for row in (await connection.execute(_RUNS, asked)).mappings()]


async def list_discrepancies(
    connection: AsyncConnection, wanted: DiscrepancyFilter, *, limit: int, before: Before = None
) -> list[dict[str, Any]]:
    """The newest first, from behind `before`, the instant and id of the last one seen."""
    at, row_id = before or (None, None)
    asked = {**vars(wanted), "limit": limit, "before_at": at, "before_id": row_id}
    return [dict(row) for row in (await connection.execute(_DISCREPANCIES, asked)).mappings()]
