"""Risk reservations and the totals they add up to.

1. A reservation and the totals row change in one transaction, the row locked.
2. Held and settled-but-unseen reservations count; `risk_adjustments` sums to what each still claims.
3. A settled reservation stops counting only for an account snapshot that was read after it was settled.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.jsons import dumps
from db.tables import risk_reservations
from db.trades import Trade, trade_of
from domain.contracts import Contract
from domain.money import Lots, Price
from domain.origins import origin
from domain.reservations import NOTHING, Amounts, ReservationState, resolve
from domain.sizing import Approved

# What is held, what it adds up to, and the trade that shows it, all at once: others wait for it, too.
_HOLD = text("""
    WITH held AS (
        INSERT INTO risk_reservations
            (trade_id, account_id, user_id, symbol, position_id, close_by_position_id, state, currency, volume,
             loss, notional, margin, reference_price, collar_points, rates, contract, recovered)
        VALUES (:trade_id, :account_id, :user_id, :symbol, :position_id, :close_by_position_id, 'held', :currency,
                :volume, :loss, :notional, :margin, :reference_price, :collar_points, CAST(:rates AS jsonb),
                CAST(:contract AS jsonb), :recovered)
    ), totals AS (
        UPDATE exposure_totals
        SET held_loss = held_loss + :loss, held_notional = held_notional + :notional,
            held_margin = held_margin + :margin, loss_room = :loss_room, notional_room = :notional_room,
            margin_room = :margin_room
        WHERE account_id = :account_id AND user_id = :user_id
    ), adjusted AS (
        INSERT INTO risk_adjustments (trade_id, cause, volume, loss, notional, margin)
        VALUES (:trade_id, 'held', :volume, :loss, :notional, :margin)
    ), changed_trade AS (
        UPDATE trade_ledger SET expected_price = :reference_price WHERE id = :trade_id RETURNING *
    ), audited AS (
        INSERT INTO audit_log (actor, action, subject, detail, address, request_id, trace_id, key_id)
        VALUES (:actor, 'trade.reserved', 'trade:' || CAST(:trade_id AS uuid), CAST(:detail AS jsonb), :address,
                :request_id, :trace_id, :key_id)
    ), told AS (
        INSERT INTO events (kind, account_id, user_id, trade_id, payload)
        VALUES ('trade.reserved', :account_id, :user_id, :trade_id, CAST(:detail AS jsonb))
    )
    SELECT * FROM changed_trade
""")

_KEEP = text("UPDATE risk_reservations SET recovered = true WHERE trade_id = :trade_id AND state = 'held'")

# What a locked reservation claims from now on; the difference goes to the totals and into the history.
_CHANGE = text("""
    WITH before AS (
        SELECT account_id, user_id, volume, loss, notional, margin
        FROM risk_reservations WHERE trade_id = :trade_id
    ), changed AS (
        UPDATE risk_reservations
        SET state = :state, counted = :counted, volume = :volume, loss = :loss, notional = :notional,
            margin = :margin,
            resolved_at = CASE WHEN :state = 'held' THEN NULL ELSE coalesce(resolved_at, clock_timestamp()) END
        WHERE trade_id = :trade_id
    ), totals AS (
        UPDATE exposure_totals t
        SET held_loss = t.held_loss + (:loss - b.loss), held_notional = t.held_notional + (:notional - b.notional),
            held_margin = t.held_margin + (:margin - b.margin)
        FROM before b WHERE t.account_id = b.account_id AND t.user_id = b.user_id
    )
    INSERT INTO risk_adjustments (trade_id, cause, fill_id, volume, loss, notional, margin)
    SELECT :trade_id, :cause, :fill_id, :volume - volume, :loss - loss, :notional - notional, :margin - margin
    FROM before
""")

# The totals are locked in the order in which every reservation locks them.
_STOP_COUNTING = text("""
    WITH shown AS (
        SELECT trade_id, account_id, user_id, volume, loss, notional, margin FROM risk_reservations
        WHERE account_id = :account_id AND counted AND state = 'settled' AND resolved_at < :read_at
        ORDER BY user_id, trade_id FOR UPDATE
    ), ended AS (
        UPDATE risk_reservations r SET counted = false, volume = 0, loss = 0, notional = 0, margin = 0
        FROM shown s WHERE r.trade_id = s.trade_id
    ), freed AS (
        SELECT user_id, sum(loss) AS loss, sum(notional) AS notional, sum(margin) AS margin
        FROM shown GROUP BY user_id
    ), locked AS (
        SELECT user_id FROM exposure_totals
        WHERE account_id = :account_id AND user_id IN (SELECT user_id FROM freed) ORDER BY user_id FOR UPDATE
    ), totals AS (
        UPDATE exposure_totals t
        SET held_loss = t.held_loss - f.loss, held_notional = t.held_notional - f.notional,
            held_margin = t.held_margin - f.margin
        FROM locked l JOIN freed f ON f.user_id = l.user_id
        WHERE t.account_id = :account_id AND t.user_id = l.user_id
    ), adjusted AS (
        INSERT INTO risk_adjustments (trade_id, cause, volume, loss, notional, margin)
        SELECT trade_id, 'snapshot', -volume, -loss, -notional, -margin FROM shown
    )
    SELECT count(*) FROM shown
""")

_FIND = select(risk_reservations).where(risk_reservations.c.trade_id == bindparam("trade_id")).with_for_update()


async def hold(
    connection: AsyncConnection, trade: Trade, approved: Approved, *, actor: str, recovered: bool = False
) -> Trade:
    """Hold what `approved` claims, once per trade; the caller has locked trade and totals to reserve.

    `recovered` marks what may long be at the broker: it is held whatever the room, and never expires.
    """
    intent, room = trade.intent, approved.room
    detail = {
        "state": trade.state,
        "claim": approved.amounts,
        "currency": approved.currency,
        "rates": approved.rates,
    }
    held = await connection.execute(
        _HOLD,
        {
            "trade_id": intent.trade_id,
            "account_id": intent.account_id,
            "user_id": intent.user_id,
            "symbol": intent.symbol,
            "position_id": intent.position_id,
            "close_by_position_id": intent.close_by_position_id,
            "currency": approved.currency,
            **_columns(approved.amounts),
            "reference_price": approved.reference_price,
            "collar_points": approved.collar_points,
            "rates": dumps(approved.rates),
            "contract": dumps(approved.contract),
            "recovered": recovered,
            "loss_room": None if room is None or recovered else room.loss,
            "notional_room": None if room is None or recovered else room.notional,
            "margin_room": None if room is None or recovered else room.margin,
            "actor": actor,
            **asdict(origin.get()),
            "detail": dumps(detail),
        },
    )
    return trade_of(held.mappings().one())


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The price a reservation was made at, how far the market may move from it before the send, and the contract.

    `contract` is None for a reservation that was made before contracts were kept.
    """

    reference_price: Price
    collar_points: int
    contract: Contract | None


async def terms(connection: AsyncConnection, trade_id: UUID) -> Terms:
    row = await _find(connection, trade_id)
    assert row is not None, "only a reserved trade is sent"
    return Terms(
        reference_price=Price(row["reference_price"]),
        collar_points=row["collar_points"],
        contract=None if row["contract"] is None else _contract(row["contract"]),
    )


async def keep_held(connection: AsyncConnection, trade_id: UUID) -> None:
    """Mark a reservation as one of an order that may be at the broker, so that it never expires."""
    await connection.execute(_KEEP, {"trade_id": trade_id})


async def reduce(
    connection: AsyncConnection, trade_id: UUID, *, claim: Amounts, cause: str, fill_id: int | None
) -> None:
    """Lower what a counted reservation claims to `claim`; it never rises."""
    row = await _find(connection, trade_id)
    if row is None or not row["counted"]:
        return
    surplus = _amounts(row) - claim
    assert min(surplus.loss, surplus.notional, surplus.margin, surplus.volume) >= 0, "a reservation never grows"
    if surplus != NOTHING:
        state = ReservationState(row["state"])
        await _change(connection, trade_id, state, claim, counted=True, cause=cause, fill_id=fill_id)


async def claimed(connection: AsyncConnection, trade_id: UUID) -> Amounts | None:
    """What the trade's reservation claims now; None if it never held one."""
    row = await _find(connection, trade_id)
    return None if row is None else _amounts(row)


async def resolve_reservation(
    connection: AsyncConnection, trade_id: UUID, into: ReservationState, *, filled: Lots
) -> None:
    """Settle, release or expire, once; a trade that never held one has none to end. Raises ReservationConflict.

    Settling keeps the share of the `filled` lots counted until a snapshot shows them; the others end at once.
    """
    row = await _find(connection, trade_id)
    if row is None:
        return
    resolve(ReservationState(row["state"]), into)
    claim = _amounts(row)
    kept = claim.share(min(filled, claim.volume)) if into is ReservationState.SETTLED else NOTHING
    await _change(connection, trade_id, into, kept, counted=kept.volume > 0, cause=into, fill_id=None)


async def stop_counting_settled(connection: AsyncConnection, account_id: UUID, *, read_at: datetime) -> int:
    """End the settled reservations that a snapshot read at `read_at` shows as positions; how many."""
    ended = await connection.scalar(_STOP_COUNTING, {"account_id": account_id, "read_at": read_at})
    return int(ended)


async def _find(connection: AsyncConnection, trade_id: UUID) -> RowMapping | None:
    return (await connection.execute(_FIND, {"trade_id": trade_id})).mappings().one_or_none()


async def _change(
    connection: AsyncConnection,
    trade_id: UUID,
    state: ReservationState,
    claim: Amounts,
    *,
    counted: bool,
    cause: str,
    fill_id: int | None,
) -> None:
    values = {"trade_id": trade_id, "state": state, "counted": counted, "cause": cause, "fill_id": fill_id}
    await connection.execute(_CHANGE, {**values, **_columns(claim)})


def _contract(stored: dict[str, Any]) -> Contract:
    return Contract(
        contract_size=Decimal(stored["contract_size"]),
        tick_size=Decimal(stored["tick_size"]),
        point=Decimal(stored["point"]),
        digits=stored["digits"],
    )


def _columns(amounts: Amounts) -> dict[str, Decimal]:
    return {
        "volume": amounts.volume,
        "loss": amounts.loss,
        "notional": amounts.notional,
        "margin": amounts.margin,
    }


def _amounts(row: RowMapping) -> Amounts:
    return Amounts(volume=Lots(row["volume"]), loss=row["loss"], notional=row["notional"], margin=row["margin"])
