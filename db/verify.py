"""`nexus verify`: each of the ten laws, as far as the books can show it, in one snapshot of a running system."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.laws import Law
from db.laws_fills import BOOKED_ONCE, EXACT, NO_ANSWER_NO_CHANGE
from db.laws_records import APPEND_ONLY, RECORDED
from db.laws_trades import DURABLE, LIMITS, ONE_SEND, SILENCE, STOP

LAWS: tuple[Law, ...] = (
    ONE_SEND,
    SILENCE,
    LIMITS,
    BOOKED_ONCE,
    STOP,
    APPEND_ONLY,
    RECORDED,
    NO_ANSWER_NO_CHANGE,
    EXACT,
    DURABLE,
)


@dataclass(frozen=True, kw_only=True)
class LawResult:
    """`checked` counts what was looked at; zero of it proves nothing."""

    law: int
    title: str
    checked: int
    violations: tuple[str, ...]


async def verify(connection: AsyncConnection) -> list[LawResult]:
    """Check all laws in one read-only snapshot; nothing may have been read in the transaction before.

    The owner's role is needed, since no service may read everything.
    """
    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    return [await _check(connection, law) for law in LAWS]


async def _check(connection: AsyncConnection, law: Law) -> LawResult:
    checked = await connection.scalar(text(law.checked), law.parameters)
    violations = [named for query in law.violations for named in await _named(connection, query, law)]
    return LawResult(law=law.number, title=law.title, checked=int(checked), violations=tuple(violations))


async def _named(connection: AsyncConnection, query: str, law: Law) -> Sequence[str]:
    return (await connection.scalars(text(query), law.parameters)).all()
