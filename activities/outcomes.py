"""What the outcome of a send makes of its trade; the caller holds the booking queue and the trade's row."""

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.orders import told
from activities.sender import Sender
from db import booking, trades
from db.attempts import Attempt
from db.journal import raise_alert
from db.trades import Trade
from domain.exchanges import Exchange
from domain.fills import FillSource
from domain.orders import Accepted, NotSent, OrderEvent, OrderState

UNDECIDED = frozenset({OrderState.PENDING, OrderState.UNRESOLVED})


async def accepted(
    connection: AsyncConnection, sender: Sender, trade: Trade, outcome: Accepted, *, source: FillSource
) -> Trade:
    """Note that the broker owns the order, and the price on offer when it was sent; book what it filled."""
    changes: dict[str, object] = {"submitted_at": func.now(), "broker_order_id": outcome.broker_order_id}
    if outcome.quote is not None and trade.intent.meets_market:
        changes["expected_price"] = outcome.quote.to_open(trade.intent.side)
    trade = await trades.note(
        connection,
        trade,
        "trade.submitted",
        actor=sender.actor,
        changes=changes,
        detail={
            "broker_order_id": outcome.broker_order_id,
            "quote": outcome.quote,
            "exchange": outcome.exchange,
        },
    )
    await booking.book_fills(
        connection,
        sender.account,
        outcome.fills,
        source=source,
        actor=sender.actor,
        slippage_percent_max=sender.slippage_percent_max,
    )
    trade = await trades.lock(connection, trade.id)
    if outcome.order is not None:
        return await booking.apply_order(connection, trade, outcome.order, actor=sender.actor)
    if trade.state in UNDECIDED:
        # Accepted, and neither order nor fill shows yet: the feed will see what becomes of it.
        return await trades.advance(connection, trade, OrderEvent.PLACED, actor=sender.actor)
    return trade


async def accepted_late(
    connection: AsyncConnection, sender: Sender, trade: Trade, attempt: Attempt, outcome: Accepted
) -> Trade:
    """Book an acceptance that comes after another verdict: the order is real, and a person has to know of it.

    The verdict on the attempt stays as it was given; the alert stands beside it.
    """
    await raise_alert(
        connection,
        "late_acceptance",
        key=f"late_acceptance:{trade.id}:{attempt.number}",
        severity="critical",
        summary=f"{trade.intent} was {trade.state} when the broker's acceptance arrived, as its order "
        f"{outcome.broker_order_id}; cancel or close it there if it is not wanted",
        account_id=trade.intent.account_id,
        trade_id=trade.id,
    )
    return await accepted(connection, sender, trade, outcome, source=FillSource.SUBMIT)


async def rejected(
    connection: AsyncConnection, sender: Sender, trade: Trade, reason: str, exchange: Exchange | None = None
) -> Trade:
    if trade.state not in UNDECIDED:
        # A fill was booked while the answer said no: the fill is the stronger evidence.
        return trade
    return await trades.advance(
        connection,
        trade,
        OrderEvent.REJECTED,
        actor=sender.actor,
        changes={"reason": reason},
        detail={"reason": reason, "exchange": exchange},
    )


async def not_sent(connection: AsyncConnection, sender: Sender, trade: Trade, refusal: NotSent) -> Trade:
    if trade.state not in UNDECIDED:
        return trade
    if trade.state is OrderState.UNRESOLVED:
        # Another run gave the send up as lost; now it is proven that nothing left.
        return await rejected(connection, sender, trade, refusal.reason)
    denial = {"gate": "submit", "code": refusal.reason, "message": told(refusal), "detail": refusal.detail}
    return await trades.advance(
        connection,
        trade,
        OrderEvent.DENIED,
        actor=sender.actor,
        changes={"reason": refusal.reason, "denials": [denial]},
        detail={"denials": [denial]},
    )
