"""How often something was asked for in its window: counted in one statement, for all processes together."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import rate_counts

# `excluded` has what the clock was before the row was waited for: whoever opened a window meanwhile is joined.
_COUNT = text("""
    INSERT INTO rate_counts AS r (key, count, resets_at)
    VALUES (:key, :amount, clock_timestamp() + CAST(:lasts AS interval))
    ON CONFLICT (key) DO UPDATE SET
        count = CASE WHEN r.resets_at <= excluded.resets_at - CAST(:lasts AS interval) THEN excluded.count
                     ELSE r.count + excluded.count END,
        resets_at = CASE WHEN r.resets_at <= excluded.resets_at - CAST(:lasts AS interval) THEN excluded.resets_at
                         ELSE r.resets_at END
    RETURNING count, resets_at - clock_timestamp() AS left
""")


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many there were in the window with this one, and how long the window goes on."""

    count: int
    left: timedelta


async def count(connection: AsyncConnection, key: str, *, lasts: timedelta, amount: int = 1) -> Counted:
    """Count into the window that is open, or into a new one."""
    answer = await connection.execute(_COUNT, {"key": key, "lasts": lasts, "amount": amount})
    return Counted(**answer.mappings().one())


async def read(connection: AsyncConnection, key: str) -> Counted:
    """What there is in the window that is open; nothing if none is."""
    left = rate_counts.c.resets_at - func.clock_timestamp()
    query = select(rate_counts.c.count, left.label("left")).where(
        rate_counts.c.key == key, rate_counts.c.resets_at > func.clock_timestamp()
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return Counted(count=0, left=timedelta()) if row is None else Counted(**row)


async def forget(connection: AsyncConnection, key: str) -> None:
    await connection.execute(delete(rate_counts).where(rate_counts.c.key == key))


async def forget_all(connection: AsyncConnection) -> int:
    """Returns how many there were."""
    return (await connection.execute(delete(rate_counts))).rowcount


async def forget_past(connection: AsyncConnection) -> None:
    """Remove windows that are over."""
    await connection.execute(delete(rate_counts).where(rate_counts.c.resets_at < func.clock_timestamp()))
