"""A terminal that the feed reads, as a test describes it, and a feed over it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.feed import FeedActivities, FollowAccount, Pace, Reconnected
from brokers.protocol import AccountReading, MarketReading
from db.accounts import Lease
from domain.errors import PipelineError
from domain.fills import Fill
from domain.instruments import Instrument
from domain.money import ZERO
from domain.orders import BrokerOrder
from domain.positions import BrokerPosition, MarginMode
from domain.watch import Permissions
from tests.activities.broker import ScriptedBroker, make_sender
from tests.db.books import Books
from tests.factories import USD, make_instrument, make_quote
from tests.waiting import until

ALL_ON = Permissions(
    connected=True, algo_trading=True, python_trading=True, account_trading=True, expert_trading=True
)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True)
class ReadBroker(ScriptedBroker):
    """`fault` is raised by every reading while it is set, `list_fault` by those of the symbols alone."""

    permissions: Permissions = ALL_ON
    leverage: int = 100
    orders: tuple[BrokerOrder, ...] = ()
    positions: tuple[BrokerPosition, ...] = ()
    records: tuple[Fill, ...] = ()
    cards: tuple[Instrument, ...] = field(default_factory=lambda: (make_instrument(),))
    fault: PipelineError | None = None
    list_fault: PipelineError | None = None
    fills_read: int = 0
    market_asked: int = 0

    async def read_instruments(self) -> tuple[Instrument, ...]:
        self._stumble()
        if self.list_fault is not None:
            raise self.list_fault
        return self.cards

    async def read_market(self, symbols: tuple[str, ...], *, deals_since: datetime) -> MarketReading:
        self.market_asked += 1
        self._stumble()
        read_at = now()
        account = AccountReading(
            login=1,
            server="Test-Server",
            company="Test",
            currency=USD,
            margin_mode=MarginMode.HEDGING,
            trade_mode="demo",
            leverage=self.leverage,
            permissions=self.permissions,
            balance=Decimal(1000),
            credit=ZERO,
            equity=Decimal(1000),
            margin=ZERO,
            margin_free=Decimal(1000),
            read_at=read_at,
        )
        quotes = tuple(make_quote(symbol=symbol, at=read_at, read_at=read_at) for symbol in symbols)
        return MarketReading(
            account=account,
            quotes=quotes,
            positions=self.positions,
            orders=self.orders,
            deal_count=len(self.records),
        )

    async def read_fills(self, since: datetime) -> tuple[Fill, ...]:
        self._stumble()
        self.fills_read += 1
        return self.records

    def _stumble(self) -> None:
        if self.fault is not None:
            raise self.fault


@dataclass(kw_only=True)
class Signals:
    """The workflows that were told, instead of a Temporal client; the feed asks for nothing else."""

    told: list[str] = field(default_factory=list)
    workflow_id: str = ""

    def get_workflow_handle(self, workflow_id: str) -> "Signals":
        return replace(self, workflow_id=workflow_id)

    async def signal(self, _name: str) -> None:
        self.told.append(self.workflow_id)


def make_feed(
    books: Books,
    lease: Lease,
    broker: ReadBroker,
    signals: Signals | None = None,
    *,
    instruments: timedelta = timedelta(milliseconds=20),
    clock: Callable[[], datetime] = now,
    reconnected: Reconnected | None = None,
) -> FeedActivities:
    return FeedActivities(
        books.broker,
        make_sender(books, lease, broker),
        cast("Client", signals or Signals()),
        pace=Pace(interval=timedelta(milliseconds=10), instruments_interval=instruments),
        now=clock,
        reconnected=reconnected,
    )


async def follow_until(
    books: Books, feed: FeedActivities, condition: Callable[[], Awaitable[bool]], *, what: str
) -> None:
    """Run the feed until the condition holds; fails with the feed's own error if it ends before."""
    environment = ActivityEnvironment()
    following = asyncio.ensure_future(environment.run(feed.follow, FollowAccount(account_slug=books.account.slug)))

    async def reached() -> bool:
        if following.done():
            following.result()
        return await condition()

    await until(reached, what=what)
    environment.cancel()
    with suppress(asyncio.CancelledError):
        await following
