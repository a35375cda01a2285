"""The one sender of an account: what the activities at the broker share."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from brokers.protocol import Broker
from db.accounts import Account, Lease


@dataclass(frozen=True, kw_only=True)
class Sender:
    """The one sender of an account: its lease, its way to the broker, and the feed that it wakes."""

    account: Account
    lease: Lease
    broker: Broker
    wake_feed: asyncio.Event
    absence_quiet: timedelta
    slippage_percent_max: Decimal
    ready_at: datetime

    @property
    def actor(self) -> str:
        return f"sender:{self.account.slug}#{self.lease.number}"
