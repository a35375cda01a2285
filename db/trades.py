"""The trade ledger: one row per trade, moved only by `advance`."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ClauseElement, RowMapping, Select, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import entry, raise_alert, record, recorded
from db.tables import trade_ledger
from db.trade_rows import intent_of, progress_of
from domain.errors import TradeNotFound
from domain.magics import magic_of
from domain.money import Price
from domain.orders import FINAL_STATES, LATE_FILLS, OrderEvent, OrderIntent, OrderState, next_state
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


# Statements of every trade are built once: building one costs more than PostgreSQL takes to answer it.
# Two trades of an account sharing a number is a matter of one in a million years; more than once, of a defect.
MAGIC_TRIES = 3

_GIVEN = (
    *(
        "id",
        "user_id",
        "account_id",
        "magic",
        "client_order_id",
        "body_hash",
        "workflow_id",
        "symbol",
        "side",
        "order_type",
    ),
    *("volume", "time_in_force", "price", "stop_limit_price", "stop_loss", "take_profit", "expires_at"),
    *(
        "max_slippage_points",
        "position_id",
        "close_by_position_id",
        "allow_duplicate",
        "stop_id",
        "received_at",
        "submit_by",
    ),
)
_ACCEPT = recorded(
    insert(trade_ledger)
    .values({name: bindparam(name, type_=trade_ledger.c[name].type) for name in _GIVEN})
    .on_conflict_do_nothing()
    .returning(*trade_ledger.c)
    .cte("accepted")
)
_READ = select(trade_ledger).where(trade_ledger.c.id == bindparam("trade_id"))
_LOCK = _READ.with_for_update()
_OPEN_AT_BROKER = select(trade_ledger).where(
    trade_ledger.c.account_id == bindparam("account_id"),
    trade_ledger.c.closed_at.is_(None),
    trade_ledger.c.state.in_([OrderState.WORKING, OrderState.PARTIALLY_FILLED]),
)


async def accept(connection: AsyncConnection, intent: OrderIntent, *, workflow_id: str) -> Trade:
    """Store the intent once; a repeat, even with another body, returns the trade that is there."""
    given = {name: getattr(intent, name) for name in _GIVEN if name not in {"id", "magic", "workflow_id"}}
    told = entry(
        "trade.accepted",
        actor=f"user:{intent.user_id}",
        detail={"state": OrderState.PENDING, "intent": str(intent)},
        account_id=intent.account_id,
        user_id=intent.user_id,
        trade_id=intent.trade_id,
    )
    for salt in range(MAGIC_TRIES):
        magic = magic_of(intent.trade_id, salt=salt)
        values = {"id": intent.trade_id, "magic": magic, "workflow_id": workflow_id}
        inserted = (await connection.execute(_ACCEPT, {**given, **values, **told})).mappings().one_or_none()
        if inserted is not None:
            return trade_of(inserted)
        known = (await connection.execute(_READ, {"trade_id": intent.trade_id})).mappings().one_or_none()
        if known is not None:
            return trade_of(known)
    raise AssertionError(f"{MAGIC_TRIES} magic numbers of trade {intent.trade_id} are taken")


async def read(connection: AsyncConnection, trade_id: UUID) -> Trade:
    return await _one(connection, _READ, trade_id)


async def lock(connection: AsyncConnection, trade_id: UUID) -> Trade:
    """Read the trade and keep others from moving it until the transaction ends."""
    return await _one(connection, _LOCK, trade_id)


async def open_at_broker(connection: AsyncConnection, account_id: UUID) -> tuple[Trade, ...]:
    """The trades whose order rests at the broker, as far as the books know."""
    found = await connection.execute(_OPEN_AT_BROKER, {"account_id": account_id})
    return tuple(trade_of(row) for row in found.mappings())


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
        values["decided_at"] = func.now()
    if state is not OrderState.UNRESOLVED:
        # A fill that nobody expected any more is for a person to look at.
        values.setdefault("needs_attention", event in LATE_FILLS)
    moved = await _change(
        connection,
        trade,
        f"trade.{event}",
        actor=actor,
        changes={**values, "state": state},
        detail={"state": state, "from": trade.state, "to": state, **(detail or {})},
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
    return await _change(
        connection, trade, action, actor=actor, changes=changes, detail={"state": trade.state, **detail}
    )


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
        changes={"closed_at": func.now()},
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
    row = (await connection.execute(query, {"trade_id": trade_id})).mappings().one_or_none()
    if row is None:
        raise TradeNotFound(trade_id)
    return trade_of(row)


async def _change(
    connection: AsyncConnection,
    trade: Trade,
    action: str,
    *,
    actor: str,
    changes: dict[str, Any],
    detail: dict[str, Any],
) -> Trade:
    # An instant is given as `func.now()`: the time of the transaction, which only the database knows.
    stamped = frozenset(name for name, value in changes.items() if isinstance(value, ClauseElement))
    given = {name: value for name, value in changes.items() if name not in stamped}
    told = entry(
        action,
        actor=actor,
        detail=detail,
        account_id=trade.intent.account_id,
        user_id=trade.intent.user_id,
        trade_id=trade.id,
    )
    statement = _changing(frozenset(given), stamped)
    return trade_of((await connection.execute(statement, {"changed": trade.id, **given, **told})).mappings().one())


@lru_cache(maxsize=256)
def _changing(given: frozenset[str], stamped: frozenset[str]) -> Select[Any]:
    """Change these columns of the trade `changed`, and record it."""
    columns = trade_ledger.c
    values = {name: bindparam(name, type_=columns[name].type) for name in sorted(given)}
    stamps = {name: func.now() for name in sorted(stamped)}
    return recorded(
        update(trade_ledger)
        .where(columns.id == bindparam("changed"))
        .values({**values, **stamps})
        .returning(*columns)
        .cte("changed_trade")
    )


def trade_of(row: RowMapping) -> Trade:
    return Trade(
        intent=intent_of(row),
        workflow_id=row["workflow_id"],
        progress=progress_of(row),
        expected_price=row["expected_price"],
        submitted_at=row["submitted_at"],
    )
