"""Reservations that nobody will end: their trade was never sent, and its workflow is gone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import attempts, reservations, trades
from db.jsons import plain
from db.trades import Trade
from domain.gates import Denial, Gate
from domain.money import ZERO, Lots
from domain.orders import OrderEvent, OrderState
from domain.reservations import ReservationState

NONE = Lots(ZERO)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    trade_id: UUID
    workflow_id: str


# Not one that was claimed, which may be at the broker, nor one that was taken up anew, which may be as well.
_CANDIDATES = text("""
    SELECT t.id AS trade_id, t.workflow_id
    FROM risk_reservations r JOIN trade_ledger t ON t.id = r.trade_id
    WHERE r.state = 'held' AND r.counted AND NOT r.recovered AND t.state = 'pending'
        AND t.submit_by < CAST(:now AS timestamptz) - CAST(:grace AS interval)
        AND NOT EXISTS (SELECT FROM send_attempts a WHERE a.trade_id = t.id)
    ORDER BY t.submit_by
    LIMIT 100
""")
_STILL_HELD = text("""
    SELECT 1 FROM risk_reservations WHERE trade_id = :trade_id AND state = 'held' AND NOT recovered FOR UPDATE
""")

_EXPIRED = Denial(
    gate=Gate.DEADLINE,
    code="reservation_expired",
    message="the order was never sent before its deadline, and what should have sent it is gone",
    remedy="send it again under a new id",
)


async def candidates(connection: AsyncConnection, *, now: datetime, grace: timedelta) -> tuple[Candidate, ...]:
    """The oldest of them; whether the workflow is gone is for its server to say."""
    rows = (await connection.execute(_CANDIDATES, {"now": now, "grace": grace})).mappings()
    return tuple(Candidate(trade_id=row["trade_id"], workflow_id=row["workflow_id"]) for row in rows)


async def expire(connection: AsyncConnection, trade_id: UUID, *, actor: str) -> Trade:
    """Expire the reservation and end the trade as denied, unless it has moved meanwhile."""
    trade = await trades.lock(connection, trade_id)
    moved = trade.state is not OrderState.PENDING or await attempts.newest(connection, trade_id) is not None
    if moved or not await connection.scalar(_STILL_HELD, {"trade_id": trade_id}):
        return trade
    await reservations.resolve_reservation(connection, trade_id, ReservationState.EXPIRED, filled=NONE)
    denials = plain([_EXPIRED])
    trade = await trades.advance(
        connection,
        trade,
        OrderEvent.DENIED,
        actor=actor,
        changes={"denials": denials, "reason": _EXPIRED.code},
        detail={"denials": denials},
    )
    return await trades.close(connection, trade, actor=actor)
