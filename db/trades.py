"""The trade ledger: one row per trade, moved only by `advance`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import raise_alert, record
from db.tables import trade_ledger
from domain.errors import TradeNotFound
from domain.money import Lots, Price
from domain.orders import (
    FINAL_STATES,
    LATE_FILLS,
    OrderEvent,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
    next_state,
)
from domain.trades import TradeProgress


@dataclass(frozen=True, kw_only=True)
class Trade:
    """A row of the ledger: the intent and how far it has come."""

    intent: OrderIntent
    workflow_id: str
    progress: TradeProgress
    expected_price: Price | None
    submitted_at: datetime | None

    @property
    def id(self) -> UUID:
        return self.intent.trade_id

    @property
    def state(self) -> OrderState:
        return self.progress.state


async def accept(connection: AsyncConnection, intent: OrderIntent, *, workflow_id: str) -> Trade:
    """Store the intent once; a repeat, even with another body, returns the trade that is there."""
    inserted = await connection.execute(
        insert(trade_ledger)
        .values(
            id=intent.trade_id,
            user_id=intent.user_id,
            account_id=intent.account_id,
            client_order_id=intent.client_order_id,
            body_hash=intent.body_hash,
            workflow_id=workflow_id,
            symbol=intent.symbol,
            side=intent.side,
            order_type=intent.order_type,
            volume=intent.volume,
            time_in_force=intent.time_in_force,
            price=intent.price,
            stop_limit_price=intent.stop_limit_price,
            stop_loss=intent.stop_loss,
            take_profit=intent.take_profit,
            expires_at=intent.expires_at,
            max_slippage_points=intent.max_slippage_points,
            position_id=intent.position_id,
            received_at=intent.received_at,
            submit_by=intent.submit_by,
        )
        .on_conflict_do_nothing()
        .returning(*trade_ledger.c)
    )
    row = inserted.mappings().one_or_none()
    if row is None:
        return await read(connection, intent.trade_id)
    trade = _trade(row)
    await journal(
        connection, trade, "trade.accepted", actor=f"user:{intent.user_id}", detail={"intent": str(intent)}
    )
    return trade


async def read(connection: AsyncConnection, trade_id: UUID) -> Trade:
    return await _one(connection, select(trade_ledger).where(trade_ledger.c.id == trade_id), trade_id)


async def lock(connection: AsyncConnection, trade_id: UUID) -> Trade:
    """Read the trade and keep others from moving it until the transaction ends."""
    query = select(trade_ledger).where(trade_ledger.c.id == trade_id).with_for_update()
    return await _one(connection, query, trade_id)


async def find_by_magic(connection: AsyncConnection, account_id: UUID, magic: int) -> Trade | None:
    """The trade that sends under `magic`, locked; None if the number is not ours."""
    query = (
        select(trade_ledger)
        .where(trade_ledger.c.account_id == account_id, trade_ledger.c.magic == magic)
        .with_for_update()
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _trade(row)


async def open_at_broker(connection: AsyncConnection, account_id: UUID) -> tuple[Trade, ...]:
    """The trades whose order rests at the broker, as far as the books know."""
    query = select(trade_ledger).where(
        trade_ledger.c.account_id == account_id,
        trade_ledger.c.closed_at.is_(None),
        trade_ledger.c.state.in_([OrderState.WORKING, OrderState.PARTIALLY_FILLED]),
    )
    return tuple(_trade(row) for row in (await connection.execute(query)).mappings())


async def advance(
    connection: AsyncConnection,
    trade: Trade,
    event: OrderEvent,
    *,
    actor: str,
    changes: dict[str, Any] | None = None,
    detail: dict[str, Any] | None = None,
) -> Trade:
    """Move a locked trade by `event`, with the columns of `changes`, and record it.

    Raises IllegalTransition. A late fill raises an alert besides.
    """
    state = next_state(trade.state, event)
    values = dict(changes or {})
    if trade.state is OrderState.PENDING:
        values["decided_at"] = text("now()")
    if state is not OrderState.UNRESOLVED:
        values.setdefault("needs_attention", False)
    moved = await _update(connection, trade, {**values, "state": state})
    await journal(
        connection,
        moved,
        f"trade.{event}",
        actor=actor,
        detail={"from": trade.state, "to": state, **(detail or {})},
    )
    if event in LATE_FILLS:
        await raise_alert(
            connection,
            "late_fill",
            key=f"late_fill:{trade.id}:{moved.progress.filled_volume}",
            severity="critical",
            summary=f"{trade.intent} was {trade.state} when the broker filled it",
            account_id=trade.intent.account_id,
            trade_id=trade.id,
        )
    return moved


async def lose(connection: AsyncConnection, trade: Trade, reason: str, *, actor: str) -> Trade:
    """Nobody knows whether the order went out: hold everything, tell people, search."""
    if trade.state is not OrderState.PENDING:
        return trade
    await raise_alert(
        connection,
        "unresolved",
        key=f"unresolved:{trade.id}",
        severity="critical",
        summary=f"{trade.intent}: the broker gave no answer that proves anything ({reason})",
        account_id=trade.intent.account_id,
        trade_id=trade.id,
    )
    return await advance(
        connection,
        trade,
        OrderEvent.OUTCOME_LOST,
        actor=actor,
        changes={"reason": reason, "needs_attention": True},
        detail={"reason": reason},
    )


async def note(
    connection: AsyncConnection,
    trade: Trade,
    action: str,
    *,
    actor: str,
    changes: dict[str, Any],
    detail: dict[str, Any],
) -> Trade:
    """Change facts of a locked trade that are not its state, and record them."""
    noted = await _update(connection, trade, changes)
    await journal(connection, noted, action, actor=actor, detail=detail)
    return noted


async def close(connection: AsyncConnection, trade: Trade, *, actor: str) -> Trade:
    """Mark a final trade as settled; again is no change."""
    assert trade.state in FINAL_STATES, "only a final trade is closed"
    if trade.progress.closed_at is not None:
        return trade
    return await note(
        connection,
        trade,
        "trade.settled",
        actor=actor,
        changes={"closed_at": text("now()")},
        detail={"filled_volume": trade.progress.filled_volume},
    )


async def journal(
    connection: AsyncConnection, trade: Trade, action: str, *, actor: str, detail: dict[str, Any]
) -> None:
    await record(
        connection,
        action,
        actor=actor,
        subject=f"trade:{trade.id}",
        detail={"state": trade.state, **detail},
        account_id=trade.intent.account_id,
        user_id=trade.intent.user_id,
        trade_id=trade.id,
    )


async def _one(connection: AsyncConnection, query: Select[Any], trade_id: UUID) -> Trade:
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise TradeNotFound(trade_id)
    return _trade(row)


async def _update(connection: AsyncConnection, trade: Trade, values: dict[str, Any]) -> Trade:
    statement = update(trade_ledger).where(trade_ledger.c.id == trade.id).values(values).returning(*trade_ledger.c)
    return _trade((await connection.execute(statement)).mappings().one())


def _trade(row: RowMapping) -> Trade:
    return Trade(
        intent=OrderIntent(
            trade_id=row["id"],
            user_id=row["user_id"],
            account_id=row["account_id"],
            client_order_id=row["client_order_id"],
            body_hash=row["body_hash"],
            symbol=row["symbol"],
            side=Side(row["side"]),
            order_type=OrderType(row["order_type"]),
            volume=Lots(row["volume"]),
            time_in_force=TimeInForce(row["time_in_force"]),
            received_at=row["received_at"],
            submit_by=row["submit_by"],
            price=row["price"],
            stop_limit_price=row["stop_limit_price"],
            stop_loss=row["stop_loss"],
            take_profit=row["take_profit"],
            expires_at=row["expires_at"],
            max_slippage_points=row["max_slippage_points"],
            position_id=row["position_id"],
        ),
        workflow_id=row["workflow_id"],
        progress=TradeProgress(
            trade_id=row["id"],
            body_hash=row["body_hash"],
            state=OrderState(row["state"]),
            magic=row["magic"],
            volume=Lots(row["volume"]),
            filled_volume=Lots(row["filled_volume"]),
            average_price=row["average_price"],
            broker_order_id=row["broker_order_id"],
            reason=row["reason"],
            needs_attention=row["needs_attention"],
            closed_at=row["closed_at"],
            slippage_points=row["slippage_points"],
            evidence=row["evidence"],
        ),
        expected_price=row["expected_price"],
        submitted_at=row["submitted_at"],
    )
