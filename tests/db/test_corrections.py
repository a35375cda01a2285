"""A record that changes, or whose owner is found later, becomes a revision that takes the one before back."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from db.booking import book_fills
from db.fills import Orphans
from db.verify import verify
from domain.fills import Entry, FillKind, FillReason, FillSource
from domain.magics import magic_of
from domain.money import ZERO, Lots
from domain.orders import OrderState
from tests.db.books import Books, lines_by_owner
from tests.db.test_booking import balances, exit_of, lines, opening
from tests.factories import NOW, TRADE_ID, lots, make_exit, make_fill


async def test_a_changed_record_becomes_a_revision_that_takes_the_old_one_back(books: Books) -> None:
    opener = await books.accepted()
    first = exit_of(None)
    await books.book(opening(opener), first)
    before = await books.rows("SELECT event_id, line, amount FROM ledger_entries ORDER BY event_id, line")

    changed = replace(first, profit=Decimal("4.00"), swap=Decimal("-0.20"))
    await books.book(changed)
    await books.book(changed)

    revisions = await books.rows("SELECT revision FROM fills WHERE ticket = :t ORDER BY revision", t=first.ticket)
    assert [row["revision"] for row in revisions] == [1, 2]
    after = await books.rows("SELECT event_id, line, amount FROM ledger_entries ORDER BY event_id, line")
    assert [row for row in after if row in before] == before
    assert [line["profit"] for line in await lines(books, first.ticket)] == [
        Decimal("10.00"),
        Decimal("-10.00"),
        Decimal("4.00"),
    ]
    reversals = await books.rows("SELECT 1 FROM ledger_entries WHERE reverses_event_id IS NOT NULL")
    assert len(reversals) == 3
    assert (await balances(books))[books.user_id, "trading_profit"] == Decimal("-4.00")
    await books.check_sums()


async def test_a_record_dated_anew_takes_its_money_to_the_other_day(books: Books) -> None:
    opener = await books.accepted()
    first = exit_of(None)
    await books.book(opening(opener), first)

    await books.book(replace(first, executed_at=first.executed_at + timedelta(days=1)))

    days = await books.rows("SELECT day::text AS day, profit FROM user_daily_stats ORDER BY day")
    assert [(row["day"], row["profit"]) for row in days] == [
        ("2026-03-02", Decimal("0.00")),
        ("2026-03-03", Decimal("10.00")),
    ]
    assert await broken_laws(books) == []


async def test_what_was_nobodys_goes_to_its_trade_once_that_is_known(books: Books) -> None:
    """The books were put back and the fill came in before the workflow that knows of it."""
    intent = books.intent()
    fill = make_fill(magic=magic_of(intent.trade_id))
    stop = make_exit(magic=0, reason=FillReason.STOP_LOSS)
    await books.book(fill, stop)
    assert lines_by_owner(await lines(books, stop.ticket)) == {(None, "close"): lots("0.10")}

    trade = await books.reserved(**vars(intent))
    (moved,) = await books.book(fill, source=FillSource.RESOLVE)
    again = await books.book(fill, stop)

    assert (moved.id, moved.state, again) == (trade.id, OrderState.FILLED, ())
    assert lines_by_owner(await lines(books, fill.ticket)) == {(trade.id, "open"): lots("0.10")}
    assert lines_by_owner(await lines(books, stop.ticket)) == {(trade.id, "close"): lots("0.10")}
    assert (await balances(books))[books.user_id, "trading_profit"] == Decimal("-10.00")
    assert await broken_laws(books) == []


async def test_an_exit_booked_before_its_opening_is_its_openers_in_the_end(books: Books) -> None:
    opener = await books.accepted()
    await books.book(exit_of(None))
    await books.book(opening(opener))

    assert lines_by_owner(await lines(books, exit_of(None).ticket)) == {(opener.id, "close"): lots("0.10")}
    assert await broken_laws(books) == []


async def test_an_exit_that_a_stepped_clock_dates_before_its_opening_is_its_openers(books: Books) -> None:
    opener = await books.accepted()
    early = exit_of(None, executed_at=NOW - timedelta(hours=1))
    await books.book(opening(opener), early)

    assert lines_by_owner(await lines(books, early.ticket)) == {(opener.id, "close"): lots("0.10")}
    assert await broken_laws(books) == []


async def test_a_stranger_that_is_booked_is_corrected_at_once(books: Books) -> None:
    fill = make_fill(magic=magic_of(TRADE_ID))
    await books.book(fill)

    async with books.broker.begin() as connection:
        await book_fills(
            connection,
            books.account,
            [replace(fill, commission=Decimal("-0.70"))],
            source=FillSource.FEED,
            actor="test",
            slippage_percent_max=Decimal("0.5"),
            orphans=Orphans.STRANGERS_WAIT,
        )

    assert await books.scalar("SELECT commission FROM current_fills") == Decimal("-0.70")
    assert await broken_laws(books) == []


async def broken_laws(books: Books) -> list[str]:
    """Of fills, money and their records; how trades are run is not in these books."""
    async with books.owner.connect() as connection:
        laws = await verify(connection)
    return [violation for law in laws if law.law in {4, 7, 9} for violation in law.violations]


async def test_a_busted_execution_gives_its_lots_and_money_back(books: Books) -> None:
    opener = await books.accepted()
    fill = opening(opener)
    await books.book(fill)

    await books.book(replace(fill, kind=FillKind.CANCELLED, volume=Lots(ZERO), commission=ZERO))

    assert lines_by_owner(await lines(books, fill.ticket)) == {}
    assert (await books.trade(opener.id)).progress.filled_volume == 0
    assert await balances(books) == {}
    await books.check_sums()


async def test_what_a_cancelled_exit_had_brought_stays_until_a_correction_takes_it_back(books: Books) -> None:
    opener = await books.accepted()
    await books.book(opening(opener))
    leaving = exit_of(None)
    await books.book(leaving)
    before = await balances(books)

    await books.book(replace(leaving, kind=FillKind.CANCELLED, volume=Lots(ZERO), profit=ZERO))

    cancelled = await balances(books)
    assert cancelled[None, "broker_cash"] == before[None, "broker_cash"]
    assert cancelled[None, "corrections"] == -leaving.profit
    assert (opener.intent.user_id, "trading_profit") not in cancelled

    money = {"position_id": 0, "broker_order_id": 0, "magic": 0, "symbol": "", "side": "", "entry": Entry.IN}
    values = {"ticket": 9100, "kind": FillKind.CORRECTION, "volume": Lots(ZERO), "profit": -leaving.profit}
    await books.book(make_fill(**{**money, **values, "commission": ZERO}))

    corrected = await balances(books)
    assert corrected[None, "broker_cash"] == before[None, "broker_cash"] - leaving.profit
    assert (None, "corrections") not in corrected
    assert await broken_laws(books) == []
