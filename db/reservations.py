"""Risk reservations and the totals they add up to.

1. A reservation and the totals row change in one transaction, the row locked.
2. Held and settled-but-unseen reservations count; `risk_adjustments` sums to what each still claims.
3. A settled reservation stops counting only for an account snapshot that was read after it was settled.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.jsons import plain
from db.tables import exposure_totals, risk_adjustments, risk_reservations
from domain.money import Lots, Price
from domain.orders import OrderIntent
from domain.reservations import NOTHING, Amounts, ReservationState, resolve
from domain.risk import Approved

_ENSURE_TOTALS = text("""
    INSERT INTO exposure_totals (account_id, user_id) VALUES (:account_id, :user_id) ON CONFLICT DO NOTHING
""")


async def lock_totals(connection: AsyncConnection, account_id: UUID, user_id: UUID) -> None:
    """Make the user's totals row exist, then lock every row of the account in a fixed order."""
    await connection.execute(_ENSURE_TOTALS, {"account_id": account_id, "user_id": user_id})
    await connection.execute(
        select(exposure_totals.c.user_id)
        .where(exposure_totals.c.account_id == account_id)
        .order_by(exposure_totals.c.user_id)
        .with_for_update()
    )


async def hold(connection: AsyncConnection, intent: OrderIntent, approved: Approved) -> None:
    """Hold what `approved` claims, once per trade; the totals row is locked by the caller."""
    amounts = approved.amounts
    await connection.execute(
        insert(risk_reservations).values(
            trade_id=intent.trade_id,
            account_id=intent.account_id,
            user_id=intent.user_id,
            symbol=intent.symbol,
            position_id=intent.position_id,
            state=ReservationState.HELD,
            currency=approved.currency,
            volume=amounts.volume,
            loss=amounts.loss,
            notional=amounts.notional,
            margin=amounts.margin,
            reference_price=approved.reference_price,
            collar_points=approved.collar_points,
            rates=plain(approved.rates),
        )
    )
    await _add(connection, intent.account_id, intent.user_id, amounts)
    await _adjust(connection, intent.trade_id, cause="held", amounts=amounts)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The price a reservation was made at, and how far the market may move from it before the send."""

    reference_price: Price
    collar_points: int


async def terms(connection: AsyncConnection, trade_id: UUID) -> Terms:
    row = await _find(connection, trade_id)
    assert row is not None, "only a reserved trade is sent"
    return Terms(reference_price=Price(row["reference_price"]), collar_points=row["collar_points"])


async def is_held(connection: AsyncConnection, trade_id: UUID) -> bool:
    return await _find(connection, trade_id) is not None


async def reduce(
    connection: AsyncConnection, trade_id: UUID, *, claim: Amounts, cause: str, fill_id: int | None
) -> None:
    """Lower what a counted reservation claims to `claim`; it never rises."""
    row = await _find(connection, trade_id)
    if row is None or not row["counted"]:
        return
    surplus = _amounts(row) - claim
    assert min(surplus.loss, surplus.notional, surplus.margin, surplus.volume) >= 0, "a reservation never grows"
    if surplus == NOTHING:
        return
    await connection.execute(
        update(risk_reservations)
        .where(risk_reservations.c.trade_id == trade_id)
        .values(volume=claim.volume, loss=claim.loss, notional=claim.notional, margin=claim.margin)
    )
    await _add(connection, row["account_id"], row["user_id"], NOTHING - surplus)
    await _adjust(connection, trade_id, cause=cause, amounts=NOTHING - surplus, fill_id=fill_id)


async def claimed(connection: AsyncConnection, trade_id: UUID) -> Amounts | None:
    """What the trade's reservation claims now; None if it never held one."""
    row = await _find(connection, trade_id)
    return None if row is None else _amounts(row)


async def resolve_reservation(
    connection: AsyncConnection, trade_id: UUID, into: ReservationState, *, filled: Lots
) -> bool:
    """Settle, release or expire: whether that changed anything. Raises ReservationConflict.

    Settling keeps the share of the `filled` lots counted until a snapshot shows them; the others end at once.
    """
    row = await _find(connection, trade_id)
    if row is None or not resolve(ReservationState(row["state"]), into):
        return False
    claim = _amounts(row)
    kept = claim.share(min(filled, claim.volume)) if into is ReservationState.SETTLED else NOTHING
    await connection.execute(
        update(risk_reservations)
        .where(risk_reservations.c.trade_id == trade_id)
        .values(
            state=into,
            resolved_at=text("clock_timestamp()"),
            counted=kept.volume > 0,
            volume=kept.volume,
            loss=kept.loss,
            notional=kept.notional,
            margin=kept.margin,
        )
    )
    freed = kept - claim
    await _add(connection, row["account_id"], row["user_id"], freed)
    await _adjust(connection, trade_id, cause=into, amounts=freed)
    return True


async def stop_counting_settled(connection: AsyncConnection, account_id: UUID, *, read_at: datetime) -> int:
    """End the settled reservations that a snapshot read at `read_at` shows as positions; how many."""
    query = (
        select(risk_reservations)
        .where(
            risk_reservations.c.account_id == account_id,
            risk_reservations.c.counted,
            risk_reservations.c.state == ReservationState.SETTLED,
            risk_reservations.c.resolved_at < read_at,
        )
        .order_by(risk_reservations.c.user_id, risk_reservations.c.trade_id)
        .with_for_update()
    )
    rows = (await connection.execute(query)).mappings().all()
    for row in rows:
        freed = NOTHING - _amounts(row)
        await connection.execute(
            update(risk_reservations)
            .where(risk_reservations.c.trade_id == row["trade_id"])
            .values(counted=False, volume=0, loss=0, notional=0, margin=0)
        )
        await _add(connection, row["account_id"], row["user_id"], freed)
        await _adjust(connection, row["trade_id"], cause="snapshot", amounts=freed)
    return len(rows)


async def _find(connection: AsyncConnection, trade_id: UUID) -> RowMapping | None:
    query = select(risk_reservations).where(risk_reservations.c.trade_id == trade_id).with_for_update()
    return (await connection.execute(query)).mappings().one_or_none()


async def _add(connection: AsyncConnection, account_id: UUID, user_id: UUID, amounts: Amounts) -> None:
    totals = exposure_totals.c
    await connection.execute(
        update(exposure_totals)
        .where(totals.account_id == account_id, totals.user_id == user_id)
        .values(
            held_loss=totals.held_loss + amounts.loss,
            held_notional=totals.held_notional + amounts.notional,
            held_margin=totals.held_margin + amounts.margin,
        )
    )


async def _adjust(
    connection: AsyncConnection, trade_id: UUID, *, cause: str, amounts: Amounts, fill_id: int | None = None
) -> None:
    await connection.execute(
        insert(risk_adjustments).values(
            trade_id=trade_id,
            cause=cause,
            fill_id=fill_id,
            volume=amounts.volume,
            loss=amounts.loss,
            notional=amounts.notional,
            margin=amounts.margin,
        )
    )


def _amounts(row: RowMapping) -> Amounts:
    return Amounts(volume=Lots(row["volume"]), loss=row["loss"], notional=row["notional"], margin=row["margin"])
