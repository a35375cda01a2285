"""A close by an opposite position: one order, two fills, and never more closed than is open."""

import asyncio
from decimal import Decimal
from typing import Any

from brokers.simulator.faults import AnswerLost
from db.trades import Trade
from domain.orders import OrderIntent, OrderState, Side
from tests.desk import Desk
from tests.factories import lots, price
from tests.waiting import until
from tests.workflows.asking import broken_laws, event_kinds, reservation_state, sends_of
from tests.workflows.holding import closing, open_position


async def hedged(desk: Desk, *, long: str = "0.30", short: str = "0.20") -> tuple[Trade, Trade]:
    """A long position opened at 1.10010 and a short one at 1.10210, in the same symbol."""
    bought, _ = await open_position(desk, volume=lots(long))
    sold, _ = await open_position(desk, bid="1.10210", ask="1.10220", side=Side.SELL, volume=lots(short))
    return bought, sold


def closing_by(desk: Desk, position: Trade, partner: Trade, **changes: Any) -> OrderIntent:
    values = {
        "side": position.intent.side.opposite,
        "volume": min(position.intent.volume, partner.intent.volume),
        "close_by_position_id": partner.progress.broker_order_id,
    }
    assert position.progress.broker_order_id is not None
    return closing(desk, position.progress.broker_order_id, **{**values, **changes})


async def test_it_closes_the_common_lots_at_the_others_price_and_pays_the_openers(desk: Desk) -> None:
    bought, sold = await hedged(desk)
    intent = closing_by(desk, bought, sold)

    ack = await desk.execute(intent)

    trade = await desk.settled(intent)
    assert ack.state is OrderState.FILLED
    assert (trade.progress.filled_volume, trade.progress.average_price) == (lots("0.20"), price("1.10210"))
    assert (trade.expected_price, trade.progress.slippage_points) == (price("1.10210"), 0)
    (left,) = desk.control.books().positions
    assert (left.ticket, left.lots) == (bought.progress.broker_order_id, lots("0.10"))
    fills = await desk.rows(
        "SELECT position_id, entry, side, volume, price, profit FROM fills WHERE trade_id = :id ORDER BY ticket",
        id=trade.id,
    )
    shared = {"entry": "out_by", "volume": lots("0.20")}
    assert fills == [
        {
            "position_id": bought.progress.broker_order_id,
            "side": "sell",
            "price": price("1.10210"),
            "profit": Decimal("40.00"),
            **shared,
        },
        {
            "position_id": sold.progress.broker_order_id,
            "side": "buy",
            "price": price("1.10010"),
            "profit": Decimal("0.00"),
            **shared,
        },
    ]
    lines = await desk.rows(
        "SELECT a.trade_id, a.volume, a.profit FROM fill_allocations a JOIN fills f ON f.id = a.fill_id"
        " WHERE a.role = 'close' ORDER BY f.ticket"
    )
    assert lines == [
        {"trade_id": bought.id, "volume": lots("0.20"), "profit": Decimal("40.00")},
        {"trade_id": sold.id, "volume": lots("0.20"), "profit": Decimal("0.00")},
    ]
    assert await broken_laws(desk) == []


async def test_one_whose_answer_was_lost_is_found_and_is_one_pair_of_fills(desk: Desk) -> None:
    bought, sold = await hedged(desk)
    desk.control.script("*", [AnswerLost(executed=True)])
    intent = closing_by(desk, bought, sold)

    await desk.execute(intent)

    trade = await desk.settled(intent)
    assert (trade.state, trade.progress.filled_volume) == (OrderState.FILLED, lots("0.20"))
    assert "trade.outcome_lost" in await event_kinds(desk, intent.trade_id)
    assert await reservation_state(desk, intent) == "settled"
    assert len(sends_of(desk, trade)) == 1

    async def paired() -> bool:
        exits = await desk.rows("SELECT position_id FROM fills WHERE entry = 'out_by' ORDER BY ticket")
        return [row["position_id"] for row in exits] == [
            bought.progress.broker_order_id,
            sold.progress.broker_order_id,
        ]

    await until(paired, what="both fills to be booked")
    assert await broken_laws(desk) == []


async def test_closes_of_both_positions_and_a_close_by_at_once_never_close_more_than_is_open(desk: Desk) -> None:
    bought, sold = await hedged(desk)
    long_id, short_id = bought.progress.broker_order_id, sold.progress.broker_order_id
    assert long_id is not None
    assert short_id is not None
    intents = [
        closing_by(desk, bought, sold),
        closing(desk, long_id, volume=lots("0.20")),
        closing(desk, short_id, side=Side.BUY, volume=lots("0.20")),
    ]

    await asyncio.gather(*(desk.execute(intent) for intent in intents))

    trades = [await desk.settled(intent) for intent in intents]
    by, long_close, short_close = (trade.state for trade in trades)
    # Either the pair closed each other, or the two closes took the lots; what came too late was denied.
    assert {by, long_close} == {OrderState.FILLED, OrderState.DENIED}
    assert short_close is (OrderState.DENIED if by is OrderState.FILLED else OrderState.FILLED)
    assert [(p.ticket, p.lots) for p in desk.control.books().positions] == [(long_id, lots("0.10"))]
    assert all(len(sends_of(desk, trade)) == (trade.state is OrderState.FILLED) for trade in trades)
