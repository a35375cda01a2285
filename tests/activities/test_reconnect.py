"""After a silence of the broker the feed has the account reconciled, once."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from domain.errors import BrokerUnavailable
from tests.activities.broker import take_lease
from tests.activities.feeding import ALL_ON, ReadBroker, follow_until, make_feed
from tests.db.books import Books


def go_silent(broker: ReadBroker) -> None:
    broker.fault = BrokerUnavailable("the terminal is away")


def lose_link(broker: ReadBroker) -> None:
    broker.permissions = replace(ALL_ON, connected=False)


def come_back(broker: ReadBroker) -> None:
    broker.fault, broker.permissions = None, ALL_ON


@pytest.mark.parametrize("silence", [go_silent, lose_link])
async def test_a_broker_that_comes_back_is_reconciled_once(
    books: Books, silence: Callable[[ReadBroker], None]
) -> None:
    broker, calls = ReadBroker(), []

    async def reconnected() -> None:
        calls.append(broker.market_asked)

    feed = make_feed(books, await take_lease(books), broker, reconnected=reconnected)

    async def read_for_a_while() -> bool:
        return broker.market_asked >= 3

    await follow_until(books, feed, read_for_a_while, what="readings")
    assert calls == []

    silence(broker)
    missed = broker.market_asked + 2

    async def missed_some() -> bool:
        return broker.market_asked >= missed

    await follow_until(books, feed, missed_some, what="readings that fail")
    assert calls == []

    come_back(broker)
    back = broker.market_asked + 3

    async def read_again() -> bool:
        return broker.market_asked >= back

    await follow_until(books, feed, read_again, what="readings")
    assert len(calls) == 1
