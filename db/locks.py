"""Queues of one account: transactions that take the same one run one after the other.

An advisory lock taken first serves waiters in order and cheaply; the row locks behind it stay, since they hold
against whoever forgets the queue. Lock order, everywhere: booking queue, trade row, reserving queue, totals.
"""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Queue(StrEnum):
    RESERVING = "reserving"
    BOOKING = "booking"


_TAKE = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


async def take(connection: AsyncConnection, queue: Queue, account_id: UUID) -> None:
    """Wait for our turn; held until the transaction ends."""
    await connection.execute(_TAKE, {"name": f"{queue}:{account_id}"})
