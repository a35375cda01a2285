"""A close by another position in the books: both positions held, two fills, and its lots counted once."""

import pytest
from sqlalchemy.exc import IntegrityError

from db.trades import Trade
from domain.fills import Entry, Fill
from domain.orders import OrderState, Side
from tests.db.books import Books
from tests.factories import lots, make_exit, make_fill, make_position, price

LONG_ID, SHORT_ID = 7001, 7002


async def hedged(books: Books) -> tuple[Trade, Trade]:
    """A long position of 0.30 and a short one of 0.20 lots, opened by two trades and shown by the broker."""
    bought = await books.reserved(volume=lots("0.30"))
    sold = await books.reserved(side=Side.SELL, volume=lots("0.20"))
    await books.book(
        make_fill(magic=bought.progress.magic, volume=lots("0.30")),
        make_fill(
            ticket=9002,
            broker_order_id=SHORT_ID,
            position_id=SHORT_ID,
            magic=sold.progress.magic,
            side="sell",
            volume=lots("0.20"),
        ),
    )
    await books.show_positions(
        make_position(volume=lots("0.30"), magic=bought.progress.magic),
        make_position(
            ticket=SHORT_ID,
            position_id=SHORT_ID,
            magic=sold.progress.magic,
            side=Side.SELL,
            volume=lots("0.20"),
            price_open=price("1.10210"),
        ),
    )
    return bought, sold


CLOSE_BY = {
    "side": Side.SELL,
    "volume": lots("0.20"),
    "position_id": LONG_ID,
    "close_by_position_id": SHORT_ID,
}


def pair(trade: Trade) -> tuple[Fill, Fill]:
    shared = {
        "broker_order_id": 7003,
        "magic": trade.progress.magic,
        "entry": Entry.OUT_BY,
        "volume": lots("0.20"),
        "commission": lots("0"),
    }
    own = make_exit(ticket=9003, price=price("1.10210"), profit=lots("42.00"), **shared)
    others = make_exit(ticket=9004, position_id=SHORT_ID, side="buy", profit=lots("0"), **shared)
    return own, others


async def test_its_lots_are_held_of_both_positions(books: Books) -> None:
    await hedged(books)
    closing_by = await books.reserved(**CLOSE_BY)
    assert closing_by.state is OrderState.PENDING

    short_close = await books.reserved(side=Side.BUY, position_id=SHORT_ID, volume=lots("0.01"))
    long_close = await books.reserved(side=Side.SELL, position_id=LONG_ID, volume=lots("0.11"))
    rest = await books.reserved(side=Side.SELL, position_id=LONG_ID, volume=lots("0.10"))

    assert [t.progress.reason for t in (short_close, long_close)] == ["position_volume_exceeded"] * 2
    assert rest.state is OrderState.PENDING
    await books.check_sums()


async def test_it_is_refused_while_a_close_holds_lots_of_either_position(books: Books) -> None:
    await hedged(books)
    await books.reserved(side=Side.BUY, position_id=SHORT_ID, volume=lots("0.01"))

    refused = await books.reserved(**CLOSE_BY)

    assert (refused.state, refused.progress.reason) == (OrderState.DENIED, "position_volume_exceeded")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["own fill first", "the other's first"])
async def test_its_two_fills_count_its_lots_once_whichever_comes_first(
    books: Books, order: tuple[int, int]
) -> None:
    bought, sold = await hedged(books)
    trade = await books.reserved(**CLOSE_BY)
    fills = pair(trade)

    states = []
    for number in order:
        await books.book(fills[number])
        states.append((await books.trade(trade.id)).state)

    booked = await books.trade(trade.id)
    assert states[-1] is OrderState.FILLED
    assert (booked.progress.filled_volume, booked.progress.average_price) == (lots("0.20"), price("1.10210"))
    assert (booked.progress.needs_attention, booked.progress.slippage_points) == (False, 0)
    lines = await books.rows(
        "SELECT a.trade_id, a.volume, a.profit FROM fill_allocations a JOIN fills f ON f.id = a.fill_id"
        " WHERE a.role = 'close' ORDER BY f.ticket"
    )
    assert lines == [
        {"trade_id": bought.id, "volume": lots("0.20"), "profit": lots("42.00")},
        {"trade_id": sold.id, "volume": lots("0.20"), "profit": lots("0")},
    ]
    await books.check_sums()


async def test_a_position_cannot_close_itself_in_the_books(books: Books) -> None:
    with pytest.raises(IntegrityError, match="ck_trade_ledger_close_by"):
        await books.accepted(**{**CLOSE_BY, "close_by_position_id": LONG_ID})
