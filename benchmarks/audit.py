"""How fast the audit record is sealed, checked in the database and as a file, against hashing its bytes."""

import hashlib
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from audit.checks import check_all
from audit.export import Export, write_export
from benchmarks.embedded import Embedded
from benchmarks.ways import BenchFailed
from db.sealed_rows import read_sealed
from db.seals import seal_next
from domain.audit import Fault
from domain.audit_check import ChainCheck

ROWS_PER_TRANSACTION, ROWS_PER_SEAL = 5, 500

# As a fill writes it: its detail is what most of the record's bytes are.
_WRITE = """
    DO $$ BEGIN
        FOR i IN 1..{transactions} LOOP
            INSERT INTO audit_log (actor, action, subject, detail, request_id, trace_id, address)
            SELECT 'user:' || gen_random_uuid(), 'bench.filled', 'bench:' || gen_random_uuid(),
                   jsonb_build_object(
                       'state', 'filled', 'from', 'working', 'to', 'filled', 'fill', jsonb_build_object(
                           'ticket', n, 'price', '1.08512', 'volume', '0.10', 'profit', '-12.55')),
                   md5(n::text), md5(n::text), '192.0.2.1'
            FROM generate_series(1, {rows}) AS n;
            COMMIT;
        END LOOP;
    END $$
"""


@dataclass(frozen=True, kw_only=True)
class AuditTaken:
    """Seconds for all `rows`."""

    rows: int
    sealed: float
    checked: float
    exported: float
    file_checked: float
    floor: float


async def measure_audit(embedded: Embedded, *, rows: int) -> AuditTaken:
    """Write so many rows, then seal and check them, each once: the sums are over enough to be steady."""
    writer = await asyncpg.connect(embedded.database_url("owner").replace("+asyncpg", ""))
    try:
        transactions = rows // ROWS_PER_TRANSACTION
        await writer.execute(_WRITE.format(transactions=transactions, rows=ROWS_PER_TRANSACTION), timeout=600)
    finally:
        await writer.close()
    engine = embedded.engine("sealer", pool_size=1)
    try:
        sealed = await _sealed(engine)
        async with engine.connect() as connection:
            begun = time.perf_counter()
            _good(await check_all(read_sealed(connection), ChainCheck()))
            checked = time.perf_counter() - begun
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "audit.jsonl"
                begun = time.perf_counter()
                with file.open("w", encoding="utf-8", newline="\n") as out:
                    count = await write_export(connection, out.write, since_seq=1, now=datetime.now(UTC))
                exported = time.perf_counter() - begun
                file_checked, floor = await _file(file), _hashed(file)
    finally:
        await engine.dispose()
    return AuditTaken(
        rows=count, sealed=sealed, checked=checked, exported=exported, file_checked=file_checked, floor=floor
    )


async def _sealed(engine: AsyncEngine) -> float:
    """Beside the sealer of the stack, which takes its turns: what it seals counts for us as well."""
    begun = time.perf_counter()
    while True:
        async with engine.begin() as connection:
            if await seal_next(connection, most=ROWS_PER_SEAL) is None:
                return time.perf_counter() - begun


async def _file(file: Path) -> float:
    begun = time.perf_counter()
    with file.open(encoding="utf-8", newline="\n") as lines:
        exported = Export(lines)
        _good(await check_all(exported.batches(), exported.check({})))
    return time.perf_counter() - begun


def _hashed(file: Path) -> float:
    """Each line hashed once: what is left if reading, parsing and comparing cost nothing."""
    begun = time.perf_counter()
    with file.open("rb") as lines:
        for line in lines:
            hashlib.sha256(line).digest()
    return time.perf_counter() - begun


def _good(faults: list[Fault]) -> None:
    if faults:
        raise BenchFailed(f"the record that was just written has a fault: {faults[0].message}")
