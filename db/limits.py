"""Risk limits as rows: in force until superseded, so that each former value stays with who set it and why.

Of one limit at most two rows are in force: the base value, and a loosening that stands in for it until it expires.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import locks
from db.journal import record
from db.tables import risk_limits
from domain.limits import (
    AskedLimit,
    Authority,
    LimitChange,
    LimitName,
    LimitUnit,
    Loosened,
    Standing,
    Unchanged,
    Unset,
    Until,
    decide_change,
    lets_more_pass,
)


@dataclass(frozen=True, kw_only=True)
class LimitScope:
    """Whose limit, and what it is counted in; `user_id` None limits the whole account.

    `currency` goes with the unit money alone.
    """

    account_id: UUID
    user_id: UUID | None
    unit: LimitUnit
    currency: str | None


@dataclass(frozen=True, kw_only=True)
class NewLimit(LimitScope):
    """A limit to set for good, by whoever owns the books."""

    name: LimitName
    value: Decimal
    reason: str


async def set_limit(connection: AsyncConnection, limit: NewLimit, *, actor: str) -> None:
    """Put a value in force for good; the one it replaces stays in the history."""
    asked = AskedLimit(
        name=limit.name,
        value=limit.value,
        reason=limit.reason,
        lasts=None,
        permanent=True,
        authority=Authority.FOR_GOOD,
    )
    await change_limit(connection, limit, asked, actor=actor)


async def would_loosen(connection: AsyncConnection, scope: LimitScope, asked: AskedLimit) -> bool:
    """Whether the change would let more pass. Raises what `decide_change` raises.

    The account stays locked until the transaction ends, so that what it says still holds for `change_limit`.
    """
    standing, now = await _look(connection, scope, asked.name)
    return lets_more_pass(standing, asked, decide_change(standing, asked, now=now), now=now)


async def change_limit(
    connection: AsyncConnection,
    scope: LimitScope,
    asked: AskedLimit,
    *,
    actor: str,
    approved_by: str | None = None,
) -> LimitChange:
    """Put the value in force, for as long as the rules say. Raises what `decide_change` raises.

    No reservation of the account is judged meanwhile: each sees the old value or the new one, whole.
    """
    standing, now = await _look(connection, scope, asked.name)
    change = decide_change(standing, asked, now=now)
    if isinstance(change, Unchanged):
        return change
    expires_at = change.expires_at if isinstance(change, Until) else None
    await _supersede(connection, scope, asked, actor=actor, now=now, expires_at=expires_at)
    before = standing.in_force_at(now) if isinstance(standing, Standing) else None
    await record(
        connection,
        "limit.set",
        actor=actor,
        subject=f"limit:{asked.name}",
        detail={
            "before": before,
            "after": asked.value,
            "unit": scope.unit,
            "currency": scope.currency,
            "reason": asked.reason,
            "expires_at": expires_at,
            "approved_by": approved_by,
        },
        account_id=scope.account_id,
        user_id=scope.user_id,
    )
    return change


async def _look(
    connection: AsyncConnection, scope: LimitScope, name: LimitName
) -> tuple[Standing | Unset, datetime]:
    """What stands, and when that was, behind the lock that every reservation of the account takes."""
    await locks.take(connection, locks.Queue.RESERVING, scope.account_id)
    # The clock is read behind the lock, so that what was reserved before is older than the row.
    now = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    found = await connection.execute(select(risk_limits).where(*_of(scope, name)))
    return await _standing(connection, scope, name, found.mappings().all()), now


async def _supersede(
    connection: AsyncConnection,
    scope: LimitScope,
    asked: AskedLimit,
    *,
    actor: str,
    now: datetime,
    expires_at: datetime | None,
) -> None:
    """Store the value in place of what it ends: a loosening ends the one before it, a base value both."""
    ended = _of(scope, asked.name)
    if expires_at is not None:
        ended = (*ended, risk_limits.c.expires_at.is_not(None))
    await connection.execute(update(risk_limits).where(*ended).values(superseded_at=now))
    count = await connection.scalar(select(func.count()).select_from(risk_limits))
    await connection.execute(
        insert(risk_limits).values(
            id=uuid5(scope.account_id, f"limit:{scope.user_id}:{asked.name}:{count}"),
            name=asked.name,
            account_id=scope.account_id,
            user_id=scope.user_id,
            value=asked.value,
            unit=scope.unit,
            currency=scope.currency,
            set_by=actor,
            reason=asked.reason,
            created_at=now,
            expires_at=expires_at,
        )
    )


async def _standing(
    connection: AsyncConnection, scope: LimitScope, name: LimitName, rows: Sequence[RowMapping]
) -> Standing | Unset:
    base = next((row for row in rows if row["expires_at"] is None), None)
    if base is None:
        whole = LimitScope(account_id=scope.account_id, user_id=None, unit=scope.unit, currency=scope.currency)
        bounded = scope.user_id is not None and await connection.scalar(
            select(func.count()).select_from(risk_limits).where(*_of(whole, name))
        )
        return Unset(denies=not bounded)
    if base["currency"] != scope.currency:
        # The gates compare no currencies, so that a value in another one lets nothing pass.
        return Unset(denies=True)
    loosened = next((row for row in rows if row["expires_at"] is not None), None)
    return Standing(base=base["value"], loosened=None if loosened is None else _loosened(loosened))


def _loosened(row: RowMapping) -> Loosened:
    return Loosened(
        value=row["value"], reason=row["reason"], set_at=row["created_at"], expires_at=row["expires_at"]
    )


def _of(scope: LimitScope, name: LimitName) -> tuple[ColumnElement[bool], ...]:
    """The rows of one limit that nothing has superseded."""
    current = risk_limits.c
    return (
        current.account_id == scope.account_id,
        current.user_id.is_not_distinct_from(scope.user_id),
        current.name == name,
        current.superseded_at.is_(None),
    )
