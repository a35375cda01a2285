"""A broker whose answers a test writes down; it remembers what it was asked."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from activities.sender import Sender
from brokers.protocol import Broker, CommandDone, CommandOutcome, Lookup
from db import accounts
from db.accounts import Lease
from domain.errors import BrokerUnavailable
from domain.orders import Changes, OrderRequest, SubmitOutcome
from tests.db.books import Books
from tests.factories import NOW

QUIET = timedelta(seconds=60)


@dataclass(kw_only=True)
class ScriptedBroker:
    """Answers each send with the next of `outcomes` and each look-up with `lookup`; None is a terminal away."""

    outcomes: list[SubmitOutcome] = field(default_factory=list)
    lookup: Lookup | None = None
    answer: CommandOutcome = field(default_factory=lambda: CommandDone(retcode=10009))
    sends: list[OrderRequest] = field(default_factory=list)
    commands: list[int] = field(default_factory=list)
    retired: int = 0
    died_at: datetime = NOW

    async def submit(self, order: OrderRequest) -> SubmitOutcome:
        self.sends.append(order)
        await asyncio.sleep(0)
        return self.outcomes.pop(0)

    async def find(self, magic: int, *, since: datetime) -> Lookup:
        if self.lookup is None:
            raise BrokerUnavailable("the terminal is away")
        return self.lookup

    async def retire_sender(self) -> datetime:
        self.retired += 1
        return self.died_at

    async def cancel(self, broker_order_id: int) -> CommandOutcome:
        self.commands.append(broker_order_id)
        return self.answer

    async def modify_order(self, broker_order_id: int, changes: Changes) -> CommandOutcome:
        self.commands.append(broker_order_id)
        return self.answer


def make_lookup(**changes: Any) -> Lookup:
    """A complete look-up, long after the send, that found nothing."""
    values: dict[str, Any] = {
        "magic": 0,
        "orders": (),
        "positions": (),
        "history_orders": (),
        "fills": (),
        "in_sync": True,
        "deal_count": 1,
        "since": NOW,
        "read_at": NOW + QUIET,
    }
    return Lookup(**{**values, **changes})


async def take_lease(books: Books, *, ttl: timedelta = timedelta(hours=1)) -> Lease:
    async with books.broker.begin() as connection:
        lease = await accounts.take_lease(
            connection, books.account.slug, holder="test", terminal="here", ttl=ttl, grace=timedelta(0)
        )
    assert isinstance(lease, Lease)
    return lease


def make_sender(books: Books, lease: Lease, broker: ScriptedBroker) -> Sender:
    return Sender(
        account=books.account,
        lease=lease,
        # The steps of a trade ask for these few methods alone.
        broker=cast("Broker", broker),
        wake_feed=asyncio.Event(),
        absence_quiet=QUIET,
        slippage_percent_max=Decimal("0.5"),
        ready_at=datetime.now(UTC),
    )
