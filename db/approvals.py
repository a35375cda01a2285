"""What waits for a second person: asked by one, decided by another, and by neither a second time.

1. The row keeps the request as it was made; who decides, decides about exactly that.
2. Nobody decides about their own, and the table refuses it as well.
3. The decision and what it carries out are one transaction, which the caller commits.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, case, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import record
from db.tables import approvals, users

WAITS = timedelta(hours=1)


class Approved(StrEnum):
    """What may be approved."""

    RESUME = "resume"
    LIMIT = "limit"


class ApprovalState(StrEnum):
    """`expired` is no state of the row: a waiting one whose time is over."""

    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True)
class NewApproval:
    id: UUID
    what: Approved
    body: dict[str, Any]
    body_hash: str
    summary: str
    requested_by: UUID


@dataclass(frozen=True, kw_only=True)
class Approval:
    id: UUID
    what: Approved
    body: dict[str, Any]
    body_hash: str
    summary: str
    requested_by: UUID
    requested_by_name: str
    requested_at: datetime
    expires_at: datetime
    state: ApprovalState
    decided_by: UUID | None
    decided_by_name: str | None
    decided_at: datetime | None
    reason: str | None


async def ask(connection: AsyncConnection, new: NewApproval) -> Approval:
    """Keep the request until a second person decides; the same again by the same person is the one that waits."""
    same = (
        approvals.c.requested_by == new.requested_by,
        approvals.c.what == new.what,
        approvals.c.body_hash == new.body_hash,
        approvals.c.state == ApprovalState.WAITING,
        approvals.c.expires_at > func.clock_timestamp(),
    )
    waiting = await connection.scalar(select(approvals.c.id).where(*same))
    if waiting is not None:
        return await _existing(connection, waiting)
    values = {**vars(new), "expires_at": func.clock_timestamp() + WAITS}
    await connection.execute(insert(approvals).values(values))
    actor = f"user:{new.requested_by}"
    await _record(connection, "approval.requested", new.id, {"what": new.what, "body": new.body}, actor=actor)
    return await _existing(connection, new.id)


async def find(connection: AsyncConnection, approval_id: UUID) -> Approval | None:
    row = (await connection.execute(_shown().where(approvals.c.id == approval_id))).mappings().one_or_none()
    return None if row is None else _approval(row)


async def hold(connection: AsyncConnection, approval_id: UUID) -> Approval | None:
    """The approval, locked against any other decision until the transaction ends."""
    await connection.execute(select(approvals.c.id).where(approvals.c.id == approval_id).with_for_update())
    return await find(connection, approval_id)


async def list_approvals(connection: AsyncConnection, *, waiting: bool | None, limit: int) -> list[Approval]:
    """The newest first; those that wait, or those that do not, if that is asked."""
    query = _shown().order_by(approvals.c.requested_at.desc(), approvals.c.id).limit(limit)
    if waiting is not None:
        waits = (approvals.c.state == ApprovalState.WAITING) & (approvals.c.expires_at > func.clock_timestamp())
        query = query.where(waits if waiting else ~waits)
    return [_approval(row) for row in (await connection.execute(query)).mappings()]


async def decide(
    connection: AsyncConnection, approval: Approval, *, state: ApprovalState, decided_by: UUID, reason: str
) -> Approval:
    """Note the decision about one that is held and waits."""
    await connection.execute(
        update(approvals)
        .where(approvals.c.id == approval.id, approvals.c.state == ApprovalState.WAITING)
        .values(state=state, decided_by=decided_by, decided_at=func.clock_timestamp(), reason=reason)
    )
    detail = {"what": approval.what, "requested_by": approval.requested_by, "reason": reason}
    await _record(connection, f"approval.{state}", approval.id, detail, actor=f"user:{decided_by}")
    return await _existing(connection, approval.id)


async def _existing(connection: AsyncConnection, approval_id: UUID) -> Approval:
    found = await find(connection, approval_id)
    assert found is not None, "an approval stays in the books"
    return found


def _shown() -> Select[Any]:
    asker, decider = users.alias("asker"), users.alias("decider")
    over = (approvals.c.state == ApprovalState.WAITING) & (approvals.c.expires_at <= func.clock_timestamp())
    return (
        select(
            *(column for column in approvals.c if column.name != "state"),
            case((over, ApprovalState.EXPIRED), else_=approvals.c.state).label("state"),
            asker.c.username.label("requested_by_name"),
            decider.c.username.label("decided_by_name"),
        )
        .join(asker, asker.c.id == approvals.c.requested_by)
        .outerjoin(decider, decider.c.id == approvals.c.decided_by)
    )


def _approval(row: RowMapping) -> Approval:
    return Approval(**{**row, "what": Approved(row["what"]), "state": ApprovalState(row["state"])})


async def _record(
    connection: AsyncConnection, action: str, approval_id: UUID, detail: dict[str, Any], *, actor: str
) -> None:
    await record(connection, action, actor=actor, subject=f"approval:{approval_id}", detail=detail)
