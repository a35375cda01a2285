"""The watch that the feed keeps: what its readings show of the terminal, the account and the contracts.

What the terminal shows of another account, or by a clock that is not ours, is never stored, only that it was
shown.
"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from activities.sender import Sender
from brokers.protocol import AccountReading
from db import accounts, locks, watch
from db.snapshots import Newest
from domain.errors import BrokerMismatch, ClockMismatch
from domain.watch import FindingKind, condition, leverage_findings, permission_findings


async def see_account(
    connection: AsyncConnection, sender: Sender, seen: AccountReading, *, before: Newest | None
) -> None:
    """Store what a good reading shows: what it does not show of the known conditions has ended."""
    found = permission_findings(seen.permissions)
    await watch.see_conditions(connection, sender.account, found, read_at=seen.read_at, actor=sender.actor)
    changes = leverage_findings(known=None if before is None else before.leverage, present=seen.leverage)
    await watch.tell(connection, sender.account, changes, read_at=seen.read_at, actor=sender.actor)


async def see_mismatch(
    engine: AsyncEngine, sender: Sender, error: BrokerMismatch | ClockMismatch, *, now: datetime
) -> None:
    """Store that the terminal shows what is not ours; the next good reading ends it."""
    kind = FindingKind.CLOCK_MISMATCH if isinstance(error, ClockMismatch) else FindingKind.ACCOUNT_MISMATCH
    async with engine.begin() as connection:
        await locks.take(connection, locks.Queue.BOOKING, sender.account.id)
        await accounts.check_lease(connection, sender.lease)
        await watch.begin_conditions(
            connection, sender.account, [condition(kind, shown=str(error))], read_at=now, actor=sender.actor
        )


async def see_instruments(engine: AsyncEngine, sender: Sender, *, now: datetime) -> None:
    """Read every symbol and store it, with what has changed of it."""
    cards = await sender.broker.read_instruments()
    async with engine.begin() as connection:
        await locks.take(connection, locks.Queue.BOOKING, sender.account.id)
        await accounts.check_lease(connection, sender.lease)
        await watch.see_instruments(connection, sender.account, cards, read_at=now, actor=sender.actor)
