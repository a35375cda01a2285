"""A trade from intent to settlement, on real parts."""

from decimal import Decimal

from domain.orders import OrderState
from tests.desk import Desk


async def test_market_order_is_filled_and_booked_once(desk: Desk) -> None:
    intent = desk.intent()

    ack = await desk.execute(intent)

    assert (ack.state, ack.body_hash) == (OrderState.FILLED, intent.body_hash)
    trade = await desk.trade(intent)
    assert trade.progress.filled_volume == Decimal("0.10")
    assert trade.progress.closed_at is not None
    fills = await desk.rows("SELECT * FROM fills WHERE trade_id = :id", id=intent.trade_id)
    assert [(f["entry"], f["volume"]) for f in fills] == [("in", Decimal("0.10"))]
    sends = [send for send in desk.control.books().sends if send.magic == trade.progress.magic]
    assert len(sends) == 1
