"""Positions of a desk: opened, seen by the feed, and the orders that close them."""

from typing import Any

from db.trades import Trade
from domain.orders import OrderIntent, Side
from tests.desk import Desk
from tests.waiting import until


async def open_position(
    desk: Desk, *, bid: str = "1.10000", ask: str = "1.10010", **changes: Any
) -> tuple[Trade, int]:
    """A filled trade and its position, which the feed has seen."""
    desk.control.hold_market("EURUSD")
    desk.control.tick("EURUSD", bid, ask)
    intent = desk.intent(**changes)
    await desk.execute(intent)
    trade = await desk.settled(intent)
    position_id = trade.progress.broker_order_id
    assert position_id is not None

    async def seen() -> bool:
        return bool(
            await desk.scalar("SELECT count(*) FROM broker_positions WHERE position_id = :id", id=position_id)
        )

    await until(seen, what="the position to be seen")
    return trade, position_id


def closing(desk: Desk, position_id: int, **changes: Any) -> OrderIntent:
    return desk.intent(**{"side": Side.SELL, "position_id": position_id, **changes})
