"""Risk limits as rows: in force until superseded, so that each former value stays with who set it and why."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID, uuid5

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import record
from db.tables import risk_limits
from domain.limits import LimitName, LimitUnit


@dataclass(frozen=True, kw_only=True)
class NewLimit:
    """A limit to set; `user_id` None limits the whole account. `currency` goes with the unit money alone."""

    name: LimitName
    account_id: UUID
    user_id: UUID | None
    value: Decimal
    unit: LimitUnit
    currency: str | None
    reason: str


async def set_limit(connection: AsyncConnection, limit: NewLimit, *, actor: str) -> None:
    """Put a limit in force; the one it replaces stays in the history."""
    current = risk_limits.c
    replaced = await connection.execute(
        update(risk_limits)
        .where(
            current.account_id == limit.account_id,
            current.user_id.is_not_distinct_from(limit.user_id),
            current.name == limit.name,
            current.superseded_at.is_(None),
        )
        .values(superseded_at=func.now())
        .returning(current.value)
    )
    before = replaced.scalar_one_or_none()
    count = await connection.scalar(select(func.count()).select_from(risk_limits))
    await connection.execute(
        insert(risk_limits).values(
            id=uuid5(limit.account_id, f"limit:{limit.user_id}:{limit.name}:{count}"),
            name=limit.name,
            account_id=limit.account_id,
            user_id=limit.user_id,
            value=limit.value,
            unit=limit.unit,
            currency=limit.currency,
            set_by=actor,
            reason=limit.reason,
        )
    )
    await record(
        connection,
        "limit.set",
        actor=actor,
        subject=f"limit:{limit.name}",
        detail={"before": before, "after": limit.value, "unit": limit.unit, "reason": limit.reason},
        account_id=limit.account_id,
        user_id=limit.user_id,
    )
