"""The limits as people read them: those in force, and every value that a limit ever had."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.limits import LimitName

# A user sees the limits of the accounts that the user trades on, but no other user's own.
_SEEN = """
    (CAST(:user_id AS uuid) IS NULL
     OR ((l.user_id IS NULL OR l.user_id = :user_id) AND EXISTS (
         SELECT FROM account_users au WHERE au.account_id = l.account_id AND au.user_id = :user_id)))
    AND (CAST(:account AS text) IS NULL OR a.slug = :account)
    AND (CAST(:name AS text) IS NULL OR l.name = :name)
"""
_COLUMNS = """
    l.id, a.slug AS account, l.name, u.username, l.value, l.unit, l.currency, l.reason, l.created_at AS set_at,
    l.expires_at, l.superseded_at, coalesce('user:' || s.username, l.set_by) AS set_by,
    CASE WHEN l.user_id IS NULL THEN 'account' ELSE 'user' END AS scope
"""
_FROM = """
    FROM risk_limits l
    JOIN broker_accounts a ON a.id = l.account_id
    LEFT JOIN users u ON u.id = l.user_id
    LEFT JOIN users s ON l.set_by = 'user:' || s.id
"""

_IN_FORCE = text(f"""
    SELECT * FROM (
        SELECT DISTINCT ON (l.account_id, l.user_id, l.name) {_COLUMNS}, b.value AS base_value
        {_FROM}
        LEFT JOIN risk_limits b ON l.expires_at IS NOT NULL AND b.expires_at IS NULL AND b.superseded_at IS NULL
            AND b.account_id = l.account_id AND b.user_id IS NOT DISTINCT FROM l.user_id AND b.name = l.name
        WHERE l.superseded_at IS NULL AND (l.expires_at IS NULL OR l.expires_at > clock_timestamp()) AND {_SEEN}
        ORDER BY l.account_id, l.user_id, l.name, l.expires_at NULLS LAST
    ) v
    WHERE NOT CAST(:whose AS boolean) OR v.username IS NOT DISTINCT FROM CAST(:username AS text)
    ORDER BY account, username NULLS FIRST, name
""")  # noqa: S608 - what is put in are our own constants

_HISTORY = text(f"""
    SELECT {_COLUMNS} {_FROM}
    WHERE {_SEEN}
        AND (CAST(:before_at AS timestamptz) IS NULL
             OR (l.created_at, l.id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid)))
    ORDER BY l.created_at DESC, l.id DESC LIMIT :limit
""")


@dataclass(frozen=True, kw_only=True)
class LimitFilter:
    """Which limits; None leaves a field open. `user_id` None shows those of all users."""

    user_id: UUID | None
    account: str | None = None
    name: LimitName | None = None


async def list_limits(connection: AsyncConnection, wanted: LimitFilter) -> list[dict[str, Any]]:
    """The limits in force: one row per scope and name, with `base_value` where a loosening stands in for it."""
    rows = await connection.execute(_IN_FORCE, {**vars(wanted), "whose": False, "username": None})
    return [dict(row) for row in rows.mappings()]


async def read_limit(
    connection: AsyncConnection, *, account: str, name: LimitName, username: str | None
) -> dict[str, Any]:
    """The limit in force of the account, or of one user of it; it must have been set."""
    parameters = {"user_id": None, "account": account, "name": name, "whose": True, "username": username}
    return dict((await connection.execute(_IN_FORCE, parameters)).mappings().one())


async def list_limit_history(
    connection: AsyncConnection, wanted: LimitFilter, *, limit: int, before: tuple[datetime, UUID] | None
) -> list[dict[str, Any]]:
    """Every value, the newest first, from behind `before`, the instant and id of the last one seen."""
    at, row_id = before or (None, None)
    rows = await connection.execute(
        _HISTORY, {**vars(wanted), "limit": limit, "before_at": at, "before_id": row_id}
    )
    return [dict(row) for row in rows.mappings()]
