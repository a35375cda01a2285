"""From the broker's records to the books: fills booked, trades moved, reservations recalculated, all at once."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import attempts, fill_queries, fills, locks, reservations, trade_locks, trades
from db.accounts import Account
from db.fills import Booked, Orphans
from db.journal import raise_alert
from db.tables import instruments, risk_reservations
from db.trades import Trade
from domain.fills import Fill, FillSource
from domain.magics import is_ours
from domain.money import Lots, Price, round_against_us, round_to_nearest
from domain.orders import FINAL_STATES, BrokerOrder, BrokerOrderState, OrderEvent, OrderState
from domain.reservations import Amounts
from domain.slippage import slippage
from domain.trades import event_from_books

_MEASURES = (
    select(
        instruments.c.point,
        instruments.c.contract_size,
        instruments.c.slippage_points_max,
        risk_reservations.c.rates,
    )
    .select_from(instruments)
    .outerjoin(risk_reservations, risk_reservations.c.trade_id == bindparam("trade_id"))
    .where(instruments.c.account_id == bindparam("account_id"), instruments.c.symbol == bindparam("symbol"))
)


async def book_fills(
    connection: AsyncConnection,
    account: Account,
    records: Sequence[Fill],
    *,
    source: FillSource,
    actor: str,
    slippage_percent_max: Decimal,
    orphans: Orphans = Orphans.WAIT,
) -> tuple[Trade, ...]:
    """Book what is new among the broker's records, oldest first; the trades that moved by it.

    A trade whose average price is worse than expected by more than `slippage_percent_max`, or by more points than
    its symbol is given, raises an alert.
    """
    await locks.take(connection, locks.Queue.BOOKING, account.id)
    if not records:
        return ()
    await trade_locks.lock_makers(
        connection,
        account.id,
        magics={fill.magic for fill in records if fill.magic},
        broker_order_ids={fill.broker_order_id for fill in records if fill.broker_order_id},
    )
    moved: dict[UUID, Trade] = {}
    for fill in sorted(records, key=lambda fill: fill.ticket):
        maker = await fills.maker_of(connection, account.id, fill)
        if maker is None and orphans is not Orphans.BOOK and await _strange(connection, account, fill):
            continue
        booked = await fills.book(
            connection,
            account,
            fill,
            maker=None if maker is None else maker.id,
            source=source,
            orphans=orphans,
        )
        if booked is not None and booked.trade_id is not None:
            # A corrected record may have lost its magic; its trade is still the one of the record before.
            trade = moved.get(booked.trade_id) or maker or await trades.lock(connection, booked.trade_id)
            trade = await _apply(connection, trade, order=None, booked=booked, actor=actor)
            moved[trade.id] = trade
            await _watch_slippage(connection, trade, percent_max=slippage_percent_max)
    return tuple(moved.values())


async def _strange(connection: AsyncConnection, account: Account, fill: Fill) -> bool:
    """Whether it carries a number of ours that no trade has: then the books may have been put back.

    One that was booked as nobody's for all that is no stranger any more: its corrections are booked at once.
    """
    return (
        is_ours(fill.magic)
        and await trade_locks.find_by_magic(connection, account.id, fill.magic) is None
        and bool(await fill_queries.unbooked(connection, account.id, [fill.ticket]))
    )


async def apply_order(connection: AsyncConnection, trade: Trade, order: BrokerOrder, *, actor: str) -> Trade:
    """Move a locked trade by what the broker shows of its order; its fills are booked before."""
    return await _apply(connection, trade, order=order, booked=None, actor=actor)


async def _apply(
    connection: AsyncConnection, trade: Trade, *, order: BrokerOrder | None, booked: Booked | None, actor: str
) -> Trade:
    if booked is None and trade.state in FINAL_STATES and trade.progress.broker_order_id is not None:
        # Its order tells nothing new of a trade that has ended.
        return trade
    executed = await fill_queries.executed(connection, trade.id)
    event = event_from_books(
        trade.state,
        order=order,
        filled=executed.volume,
        cancelled=executed.cancelled,
        booked=trade.progress.filled_volume,
        volume=trade.intent.volume,
    )
    changes = await _changes(
        connection, trade, order=order, booked=booked, filled=executed.volume, price=executed.price
    )
    if booked is not None:
        await _recalculate(connection, trade, booked)
        if trade.state is OrderState.PENDING and await attempts.newest(connection, trade.id) is None:
            await _alert_unclaimed(connection, trade)
    if event is None:
        if not _differs(trade, changes):
            return trade
        return await trades.note(
            connection,
            trade,
            "trade.fills_corrected" if booked else "trade.order_known",
            actor=actor,
            changes=changes,
            detail=changes,
        )
    if event is OrderEvent.CANCELLED and order is not None and order.state is BrokerOrderState.FILLED:
        changes["reason"] = "fills_cancelled"
        await _alert_cancelled_fills(connection, trade, executed.cancelled)
    return await trades.advance(connection, trade, event, actor=actor, changes=changes, detail=changes)


async def _alert_unclaimed(connection: AsyncConnection, trade: Trade) -> None:
    await raise_alert(
        connection,
        "unclaimed_fill",
        key=f"unclaimed_fill:{trade.id}",
        severity="critical",
        summary=f"{trade.intent} was filled, and the books know of no send; they may have been put back",
        account_id=trade.intent.account_id,
        trade_id=trade.id,
    )


async def _alert_cancelled_fills(connection: AsyncConnection, trade: Trade, cancelled: Lots) -> None:
    await raise_alert(
        connection,
        "fills_cancelled",
        key=f"fills_cancelled:{trade.id}",
        severity="critical",
        summary=f"{trade.intent}: the broker filled the order and cancelled {cancelled} lots of it again",
        account_id=trade.intent.account_id,
        trade_id=trade.id,
    )


async def _changes(
    connection: AsyncConnection,
    trade: Trade,
    *,
    order: BrokerOrder | None,
    booked: Booked | None,
    filled: Lots,
    price: Price | None,
) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if trade.progress.broker_order_id is None:
        if order is not None:
            changes["broker_order_id"] = order.broker_order_id
        elif booked is not None:
            changes["broker_order_id"] = booked.fill.broker_order_id
    if booked is not None:
        if trade.submitted_at is None:
            # A fill proves the send, even one that was never answered.
            changes["submitted_at"] = booked.fill.executed_at
        changes |= {"filled_volume": filled, "average_price": price}
        changes |= await _slippage(connection, trade, price=price, filled=filled)
    return changes


async def _slippage(
    connection: AsyncConnection, trade: Trade, *, price: Price | None, filled: Lots
) -> dict[str, Decimal | None]:
    """How much worse than expected the average price is; money is in the account's currency."""
    if price is None or trade.expected_price is None:
        return {}
    row = await _measures(connection, trade)
    if row is None:
        return {}
    intent, expected = trade.intent, trade.expected_price
    slipped = slippage(
        intent.side, expected=expected, actual=price, stop_loss=intent.stop_loss, point=row["point"]
    )
    moved = (price - expected) * intent.side.sign * filled * row["contract_size"]
    rate = next(iter((row["rates"] or {}).values()), None)
    return {
        "slippage_points": slipped.points,
        "slippage_money": None if rate is None else round_to_nearest(moved * Decimal(rate)),
        "slippage_price_percent": slipped.price_percent,
        "slippage_stop_percent": slipped.stop_percent,
    }


async def _watch_slippage(connection: AsyncConnection, trade: Trade, *, percent_max: Decimal) -> None:
    price, expected, intent = trade.progress.average_price, trade.expected_price, trade.intent
    if price is None or expected is None:
        return
    row = await _measures(connection, trade)
    if row is None:
        return
    slipped = slippage(
        intent.side, expected=expected, actual=price, stop_loss=intent.stop_loss, point=row["point"]
    )
    points_max = row["slippage_points_max"]
    if slipped.price_percent > percent_max or (points_max is not None and slipped.points > points_max):
        await raise_alert(
            connection,
            "slippage",
            key=f"slippage:{trade.id}",
            severity="warning",
            summary=f"{intent} was filled at {price:f} instead of {expected:f}, {slipped.points:f} points or "
            f"{slipped.price_percent:.3f} % worse",
            account_id=intent.account_id,
            trade_id=trade.id,
        )


async def _measures(connection: AsyncConnection, trade: Trade) -> RowMapping | None:
    intent = trade.intent
    measures = {"trade_id": intent.trade_id, "account_id": intent.account_id, "symbol": intent.symbol}
    return (await connection.execute(_MEASURES, measures)).mappings().one_or_none()


async def _recalculate(connection: AsyncConnection, trade: Trade, booked: Booked) -> None:
    """Replace the estimate of the filled part by what it really cost; a claim only falls."""
    claim = await reservations.claimed(connection, trade.id)
    if claim is None or claim.volume == 0 or trade.expected_price is None or trade.intent.reducing:
        return
    part = min(booked.fill.volume, claim.volume) / claim.volume
    saved = part * (1 - min(Decimal(1), booked.fill.price / trade.expected_price))
    lowered = Amounts(
        volume=claim.volume,
        loss=claim.loss,
        notional=round_against_us(claim.notional * (1 - saved)),
        margin=round_against_us(claim.margin * (1 - saved)),
    )
    if lowered != claim:
        await reservations.reduce(connection, trade.id, claim=lowered, cause="filled", fill_id=booked.fill_id)


def _differs(trade: Trade, changes: dict[str, Any]) -> bool:
    return any(getattr(trade.progress, name, None) != value for name, value in changes.items())
