"""What the broker showed last: an older reading never replaces a newer one, and closed positions are gone."""

from dataclasses import replace
from datetime import timedelta

from db import snapshots
from tests.db.books import Books, make_snapshot
from tests.factories import NOW, lots, make_instrument, make_position, make_quote, price

LATER = NOW + timedelta(seconds=1)


async def test_an_older_quote_never_replaces_a_newer_one(books: Books) -> None:
    newer = make_quote(bid=price("1.2"), read_at=LATER)
    for quote in (newer, make_quote(bid=price("1.3"))):
        async with books.broker.begin() as connection:
            await snapshots.write_quotes(connection, books.account.id, [quote])

    assert await books.scalar("SELECT bid FROM quotes") == newer.bid


async def test_an_account_has_one_snapshot_a_minute_and_it_is_the_newest(books: Books) -> None:
    for read_at in (LATER, NOW, NOW + timedelta(minutes=1)):
        async with books.broker.begin() as connection:
            await snapshots.write_account(connection, books.account.id, make_snapshot(read_at=read_at))

    kept = await books.rows("SELECT read_at FROM account_snapshots ORDER BY minute_at")
    assert [row["read_at"] for row in kept] == [LATER, NOW + timedelta(minutes=1)]


async def test_positions_are_those_that_the_broker_showed_last(books: Books) -> None:
    kept, closed = make_position(), make_position(position_id=7002, ticket=7002)
    await books.show_positions(kept, closed)
    await books.show_positions(replace(kept, volume=lots("0.05")))

    shown = await books.rows("SELECT position_id, volume FROM broker_positions")
    assert shown == [{"position_id": 7001, "volume": lots("0.05")}]

    await books.show_positions()
    assert await books.rows("SELECT 1 FROM broker_positions") == []


async def test_a_position_from_before_today_is_marked_once_a_day(books: Books) -> None:
    old = make_position(opened_at=NOW - timedelta(days=3), price_current=price("1.05"))
    await books.show_positions(old, make_position(position_id=7002, ticket=7002))
    await books.show_positions(replace(old, price_current=price("1.04")))
    books.now = NOW + timedelta(days=1)
    await books.show_positions(replace(old, price_current=price("1.03")))

    marks = await books.rows("SELECT position_id, price FROM position_marks ORDER BY day")
    assert marks == [
        {"position_id": 7001, "price": price("1.05")},
        {"position_id": 7001, "price": price("1.03")},
    ]


async def test_reading_an_instrument_anew_does_not_allow_it_again(books: Books) -> None:
    await books.run("UPDATE instruments SET allowed = false")
    async with books.broker.begin() as connection:
        await snapshots.write_instruments(connection, books.account.id, [make_instrument(volume_max=lots("7"))])
        assert await snapshots.known_symbols(connection, books.account.id) == ()
    assert await books.scalar("SELECT volume_max FROM instruments") == 7
