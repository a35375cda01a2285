"""Claims of sends: a claimed attempt is never sent again, by any retry, reset, restore or second run."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, Update, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import send_attempts
from db.trades import Trade
from domain.attempts import AttemptOutcome, outcome_of
from domain.orders import Accepted, NotSent, Rejected, SubmitOutcome, Unresolved


@dataclass(frozen=True, kw_only=True)
class Attempt:
    trade_id: UUID
    number: int
    magic: int
    lease_number: int
    claimed_at: datetime
    outcome: AttemptOutcome | None
    reason: str | None
    sender_ended_at: datetime | None


_CLAIM = (
    insert(send_attempts)
    .values(
        {
            name: bindparam(name, type_=send_attempts.c[name].type)
            for name in ("trade_id", "number", "account_id", "magic", "lease_number")
        }
    )
    .on_conflict_do_nothing()
    .returning(*send_attempts.c)
)
_NEWEST = (
    select(send_attempts)
    .where(send_attempts.c.trade_id == bindparam("trade_id"))
    .order_by(send_attempts.c.number.desc())
    .limit(1)
)


async def claim(connection: AsyncConnection, trade: Trade, *, number: int, lease_number: int) -> Attempt | None:
    """Claim the send; None if somebody did before, whoever that was."""
    claimed = await connection.execute(
        _CLAIM,
        {
            "trade_id": trade.id,
            "number": number,
            "account_id": trade.intent.account_id,
            "magic": trade.progress.magic,
            "lease_number": lease_number,
        },
    )
    row = claimed.mappings().one_or_none()
    return None if row is None else _attempt(row)


async def newest(connection: AsyncConnection, trade_id: UUID) -> Attempt | None:
    """The latest claim of a trade whose row the caller has locked: claims are made behind that lock."""
    row = (await connection.execute(_NEWEST, {"trade_id": trade_id})).mappings().one_or_none()
    return None if row is None else _attempt(row)


async def record_outcome(connection: AsyncConnection, attempt: Attempt, outcome: SubmitOutcome) -> None:
    values: dict[str, object] = {"outcome": outcome_of(outcome), "outcome_at": text("clock_timestamp()")}
    match outcome:
        case Accepted(broker_order_id=order_id, retcode=retcode):
            values |= {"broker_order_id": order_id, "retcode": retcode}
        case Rejected(reason=reason, retcode=retcode):
            values |= {"reason": reason, "retcode": retcode}
        case NotSent(reason=reason):
            values |= {"reason": reason}
        case Unresolved(reason=reason, retcode=retcode, sender_ended_at=ended):
            values |= {"reason": reason, "retcode": retcode, "sender_ended_at": ended}
    if outcome.exchange is not None:
        values |= {"request": outcome.exchange.request, "answer": outcome.exchange.answer}
    await connection.execute(_of(attempt).values(values))


async def record_sender_ended(connection: AsyncConnection, attempt: Attempt, *, at: datetime) -> None:
    """Keep when the process that held the claim was proven dead: the quiet window counts from there."""
    await connection.execute(_of(attempt).values(sender_ended_at=at))


def _of(attempt: Attempt) -> Update:
    return update(send_attempts).where(
        send_attempts.c.trade_id == attempt.trade_id, send_attempts.c.number == attempt.number
    )


def _attempt(row: RowMapping) -> Attempt:
    return Attempt(
        trade_id=row["trade_id"],
        number=row["number"],
        magic=row["magic"],
        lease_number=row["lease_number"],
        claimed_at=row["claimed_at"],
        outcome=None if row["outcome"] is None else AttemptOutcome(row["outcome"]),
        reason=row["reason"],
        sender_ended_at=row["sender_ended_at"],
    )
