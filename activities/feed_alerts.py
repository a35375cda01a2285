"""What the feed tells people of: records that it cannot place, and orders whose deals do not come."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from activities.stretch import STRANGER_PATIENCE
from db.accounts import Account
from db.journal import raise_alert
from db.trades import Trade
from domain.fills import Fill
from domain.orders import BrokerOrder


async def stranger(connection: AsyncConnection, account: Account, fill: Fill) -> None:
    minutes = STRANGER_PATIENCE // timedelta(minutes=1)
    await raise_alert(
        connection,
        "unknown_trade",
        key=f"unknown_trade:{account.slug}:{fill.magic}",
        severity="critical",
        summary=f"fill {fill.ticket} carries our number {fill.magic}, which no trade has; were the books put "
        f"back? It is booked as nobody's after {minutes} minutes",
        account_id=account.id,
        trade_id=None,
    )


async def unbookable(connection: AsyncConnection, account: Account, fill: Fill, error: Exception) -> None:
    await raise_alert(
        connection,
        "unbookable",
        key=f"unbookable:{account.slug}:{fill.ticket}:{fill.content_hash}",
        severity="critical",
        summary=f"the broker's record {fill.ticket} could not be booked: {error}",
        account_id=account.id,
        trade_id=None,
    )


async def deals_missing(connection: AsyncConnection, trade: Trade, order: BrokerOrder) -> None:
    executed = order.volume - order.remaining
    await raise_alert(
        connection,
        "deals_missing",
        key=f"deals_missing:{trade.id}",
        severity="critical",
        summary=f"{trade.intent}: the broker ended order {order.broker_order_id} as {order.state} with {executed} "
        f"lots executed, and shows deals for {trade.progress.filled_volume}; the trade stays open",
        account_id=trade.intent.account_id,
        trade_id=trade.id,
    )
