"""Every record of the broker is booked once, allocated in full, and corrected by new entries alone."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.instruments import bound_slippage
from db.trades import Trade
from domain.fills import Entry, Fill, FillKind, FillReason, FillSource
from domain.money import ZERO, Lots
from domain.orders import OrderState
from tests.db.books import Books, lines_by_owner
from tests.factories import NOW, lots, make_exit, make_fill, price

_LINES = """
    SELECT a.* FROM fill_allocations a JOIN fills f ON f.id = a.fill_id WHERE f.ticket = :ticket
    ORDER BY f.revision, a.line
"""


def opening(trade: Trade, **changes: Any) -> Fill:
    return make_fill(**{"magic": trade.progress.magic, **changes})


def exit_of(closer: Trade | None, **changes: Any) -> Fill:
    """A close of position 7001: by another trade's order, or by hand."""
    return make_exit(**{"magic": 0 if closer is None else closer.progress.magic, **changes})


async def lines(books: Books, ticket: int) -> list[dict[str, Any]]:
    return await books.rows(_LINES, ticket=ticket)


async def balances(books: Books) -> dict[tuple[Any, str], Decimal]:
    rows = await books.rows(
        "SELECT l.user_id, l.code, sum(e.amount) AS amount FROM ledger_entries e"
        " JOIN ledger_accounts l ON l.id = e.ledger_account_id GROUP BY l.user_id, l.code"
    )
    return {(row["user_id"], row["code"]): row["amount"] for row in rows if row["amount"]}


async def test_a_fill_moves_its_trade_and_is_booked_once(books: Books) -> None:
    trade = await books.reserved()
    fill = opening(trade)

    moved = await books.book(fill)
    again = await books.book(fill)

    assert ([t.state for t in moved], again) == ([OrderState.FILLED], ())
    assert await books.scalar("SELECT count(*) FROM fills") == 1
    booked = await books.trade(trade.id)
    assert (booked.progress.filled_volume, booked.progress.average_price) == (fill.volume, fill.price)
    assert booked.progress.broker_order_id == fill.broker_order_id
    await books.check_sums()


async def test_eight_bookers_of_the_same_records_book_them_once(books: Books) -> None:
    trade = await books.reserved()
    records = [
        opening(trade, ticket=1, volume=lots("0.04")),
        opening(trade, ticket=2, volume=lots("0.06")),
        exit_of(None, ticket=3, volume=lots("0.03")),
    ]

    await asyncio.gather(*(books.book(*records) for _ in range(8)))

    assert [row["ticket"] for row in await books.rows("SELECT ticket FROM fills ORDER BY ticket")] == [1, 2, 3]
    assert (await books.trade(trade.id)).state is OrderState.FILLED
    await books.check_sums()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_neither_arrival_order_nor_repeats_nor_sources_change_the_books(
    books: Books, data: st.DataObject
) -> None:
    """Answers of sends and look-ups come in any order, and the feed at last brings everything in its own."""
    number = await books.scalar("SELECT count(*) FROM fills") * 100
    opener = await books.accepted(volume=lots("0.30"))
    closer = await books.accepted(volume=lots("0.20"), position_id=number + 1)
    position = {"position_id": number + 1}
    records = [
        opening(opener, ticket=number + 1, volume=lots("0.20"), broker_order_id=number + 1, **position),
        opening(opener, ticket=number + 2, volume=lots("0.10"), broker_order_id=number + 1, **position),
        exit_of(closer, ticket=number + 3, volume=lots("0.20"), broker_order_id=number + 2, **position),
        exit_of(None, ticket=number + 4, volume=lots("0.10"), broker_order_id=number + 3, **position),
    ]
    records = [replace(r, executed_at=NOW + timedelta(seconds=n)) for n, r in enumerate(records)]

    arrivals = data.draw(st.lists(st.sampled_from(records), max_size=8))
    for record in arrivals:
        await books.book(record, source=data.draw(st.sampled_from([FillSource.SUBMIT, FillSource.RESOLVE])))
    await books.book(*data.draw(st.permutations(records)))

    owners = [lines_by_owner(await lines(books, record.ticket)) for record in records]
    assert owners == [
        {(opener.id, "open"): lots("0.20")},
        {(opener.id, "open"): lots("0.10")},
        {(opener.id, "close"): lots("0.20")},
        {(opener.id, "close"): lots("0.10")},
    ]
    states = [(await books.trade(trade.id)).state for trade in (opener, closer)]
    assert states == [OrderState.FILLED, OrderState.FILLED]
    await books.check_sums()


async def test_profit_is_realised_by_the_user_who_opened(books: Books) -> None:
    opener = await books.accepted()
    other_id = await books.add_trader("other")
    closer = await books.accepted(user_id=other_id, position_id=7001)
    await books.book(opening(opener))

    await books.book(exit_of(closer))

    days = await books.rows("SELECT user_id, profit, commission FROM user_daily_stats")
    assert days == [{"user_id": books.user_id, "profit": Decimal("10.00"), "commission": Decimal("-0.70")}]
    assert (await balances(books))[books.user_id, "trading_profit"] == Decimal("-10.00")
    assert (await books.trade(closer.id)).state is OrderState.FILLED


async def test_a_trade_by_hand_is_external_from_its_opening_to_its_close(books: Books) -> None:
    await books.book(make_fill(magic=0), exit_of(None))

    assert {row["owner"] for row in await books.rows("SELECT owner FROM fill_allocations")} == {"external"}
    assert await books.rows("SELECT 1 FROM user_daily_stats") == []
    assert await balances(books) == {
        (None, "broker_cash"): Decimal("9.30"),
        (None, "trading_profit"): Decimal("-10.00"),
        (None, "commission"): Decimal("0.70"),
    }
    await books.check_sums()


async def test_the_brokers_own_exit_belongs_to_no_order_but_to_the_opener(books: Books) -> None:
    opener = await books.accepted()
    await books.book(opening(opener))

    # Brokers may copy the magic of the opening order to the exit that they make.
    stop = exit_of(opener, reason=FillReason.STOP_LOSS, profit=Decimal("-25.00"))
    assert await books.book(stop) == ()

    booked = await books.rows("SELECT trade_id FROM fills WHERE ticket = :ticket", ticket=stop.ticket)
    assert booked == [{"trade_id": None}]
    assert lines_by_owner(await lines(books, stop.ticket)) == {(opener.id, "close"): lots("0.10")}
    assert (await books.trade(opener.id)).progress.filled_volume == lots("0.10")


async def test_a_fill_of_a_final_trade_is_booked_and_alerted(books: Books) -> None:
    trade = await books.accepted()
    await books.run("UPDATE trade_ledger SET state = 'cancelled' WHERE id = :id", id=trade.id)

    await books.book(opening(trade, volume=lots("0.04")))
    assert (await books.trade(trade.id)).state is OrderState.CANCELLED
    await books.book(opening(trade, ticket=2, volume=lots("0.06")))
    assert (await books.trade(trade.id)).state is OrderState.FILLED

    alerts = await books.rows("SELECT kind, severity FROM alerts")
    assert alerts == [{"kind": "late_fill", "severity": "critical"}] * 2


async def test_only_the_feed_books_an_exit_whose_opening_is_not_in_the_books(books: Books) -> None:
    await books.book(exit_of(None), source=FillSource.SUBMIT)
    assert await books.rows("SELECT 1 FROM fills") == []

    await books.book(exit_of(None), source=FillSource.FEED)
    assert lines_by_owner(await lines(books, 9002)) == {(None, "close"): lots("0.10")}


async def test_deposits_and_corrections_are_no_result_of_trading(books: Books) -> None:
    money = {"magic": 0, "entry": Entry.NONE, "volume": Lots(ZERO), "commission": ZERO, "position_id": 0}
    await books.book(
        make_fill(ticket=1, kind=FillKind.BALANCE, profit=Decimal(5000), **money),
        make_fill(ticket=2, kind=FillKind.CORRECTION, profit=Decimal("-12.34"), **money),
    )

    assert await balances(books) == {
        (None, "broker_cash"): Decimal("4987.66"),
        (None, "external_money"): Decimal(-5000),
        (None, "corrections"): Decimal("12.34"),
    }
    assert await books.rows("SELECT 1 FROM user_daily_stats") == []


async def test_a_reversal_on_a_netting_account_is_half_exit_and_half_entry(netting_books: Books) -> None:
    books = netting_books
    first, second = await books.accepted(), await books.accepted(volume=lots("0.30"))
    await books.book(opening(first))

    turn = exit_of(second, entry=Entry.INOUT, volume=lots("0.30"))
    await books.book(turn)

    assert lines_by_owner(await lines(books, turn.ticket)) == {
        (first.id, "close"): lots("0.10"),
        (second.id, "open"): lots("0.20"),
    }
    assert (await books.trade(second.id)).state is OrderState.FILLED
    await books.check_sums()


async def test_a_fill_cheaper_than_reserved_lowers_the_claim_and_never_raises_it(books: Books) -> None:
    cheap, dear = await books.reserved(), await books.reserved()
    before = {trade.id: await claimed(books, trade) for trade in (cheap, dear)}

    await books.book(opening(cheap, ticket=1, price=price("1.09000"), broker_order_id=1, position_id=1))
    await books.book(opening(dear, ticket=2, price=price("1.12000"), broker_order_id=2, position_id=2))

    assert await claimed(books, cheap) < before[cheap.id]
    assert await claimed(books, dear) == before[dear.id]
    await books.check_sums()


async def test_slippage_is_measured_against_the_price_expected(books: Books) -> None:
    trade = await books.reserved()
    await books.book(opening(trade, price=price("1.10015")))

    assert await slipped(books) == [Decimal("5.00"), Decimal("0.50"), Decimal("0.004545"), None]


async def test_slippage_is_measured_against_the_stop_that_the_order_carries(books: Books) -> None:
    trade = await books.reserved(stop_loss=price("1.09910"))
    await books.book(opening(trade, price=price("1.10015")))

    assert await slipped(books) == [Decimal("5.00"), Decimal("0.50"), Decimal("0.004545"), Decimal("5.00")]


@pytest.mark.parametrize(("filled_at", "alerted"), [("1.10030", False), ("1.10031", True)])
async def test_slippage_beyond_the_points_of_its_symbol_raises_the_same_alert(
    books: Books, filled_at: str, *, alerted: bool
) -> None:
    async with books.broker.begin() as connection:
        await bound_slippage(connection, books.account.id, {"EURUSD": Decimal(20)})
    trade = await books.reserved()
    await books.book(opening(trade, price=price(filled_at)))

    alerts = await books.rows("SELECT kind, key FROM alerts WHERE kind = 'slippage'")
    assert alerts == ([{"kind": "slippage", "key": f"slippage:{trade.id}"}] if alerted else [])


async def test_slippage_beyond_the_threshold_raises_one_alert(books: Books) -> None:
    trade = await books.reserved()
    for lots_filled, ticket in (("0.06", 1), ("0.04", 2)):
        part = opening(trade, ticket=ticket, volume=lots(lots_filled), price=price("1.10700"))
        await books.book(part)

    alerts = await books.rows("SELECT kind, severity FROM alerts WHERE kind = 'slippage'")
    assert alerts == [{"kind": "slippage", "severity": "warning"}]


async def slipped(books: Books) -> list[Decimal | None]:
    (row,) = await books.rows(
        "SELECT slippage_points, slippage_money, slippage_price_percent, slippage_stop_percent FROM trade_ledger"
    )
    return list(row.values())


async def claimed(books: Books, trade: Trade) -> Decimal:
    return Decimal(await books.scalar("SELECT notional FROM risk_reservations WHERE trade_id = :id", id=trade.id))
