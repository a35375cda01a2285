"""Audit rows to seal, and a pass over what was sealed."""

from collections.abc import Mapping
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_faults
from db.journal import record
from db.sealed_rows import read_sealed
from db.seals import seal_next
from domain.audit import Fault, FaultKind
from domain.audit_check import Anchor, ChainCheck
from stack.scratch import Database


async def write_rows(connection: AsyncConnection, *names: str) -> None:
    for name in names:
        await record(connection, "test.noted", actor="test", subject=f"thing:{name}", detail={"name": name})


async def write(database: Database, *names: str) -> None:
    async with database.engine("api").begin() as connection:
        await write_rows(connection, *names)


async def seal(database: Database, *, most: int = 1000) -> int:
    """Seal until nothing is left; how many seals that made."""
    made = 0
    while True:
        async with database.engine("sealer").begin() as connection:
            if await seal_next(connection, most=most) is None:
                return made
        made += 1


async def check(database: Database, *, anchors: Mapping[int, Anchor] | None = None) -> Fault | None:
    """The first fault of the chain, by a pass as the sealer makes it."""
    async with database.engine("sealer").connect() as connection:
        passing = ChainCheck(anchors=anchors)
        async for batch in read_sealed(connection):
            if found := passing.check(batch):
                return found[0]
        return passing.end()


async def tamper(database: Database, *statements: str) -> None:
    """Change what is append-only, as somebody does who owns the tables and knows how."""
    tables = ("audit_log", "audit_chain", "audit_seals", "audit_anchors")
    async with database.engine("owner").begin() as connection:
        await connection.execute(text("ALTER TABLE audit_chain DROP CONSTRAINT fk_audit_chain_audit_id_audit_log"))
        for table in tables:
            await connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for statement in statements:
            await connection.execute(text(statement))
        for table in tables:
            await connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


async def sealed_subjects(database: Database) -> list[str]:
    """What the sealed rows are about, in the order in which they were sealed."""
    async with database.engine("sealer").connect() as connection:
        return list(
            await connection.scalars(
                text("SELECT subject FROM audit_log a JOIN audit_chain c ON c.audit_id = a.id ORDER BY c.seq")
            )
        )


async def note_fault(database: Database) -> int:
    """Have the sealer find one more fault; its number."""
    fault = Fault(kind=FaultKind.TAIL_CUT, message="a test", seal_number=uuid4().int % 10**9)
    async with database.engine("sealer").begin() as connection:
        await audit_faults.note(connection, fault)
        return (await audit_faults.list_standing(connection))[-1].id
