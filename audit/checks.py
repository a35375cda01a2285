"""Going over the whole chain again and again, a part at a time, so that damage is found while it is young."""

from collections.abc import AsyncIterable, Callable, Iterable

from sqlalchemy.ext.asyncio import AsyncEngine

from audit.anchors import Anchors
from db.sealed_rows import LOWEST, read_oddities, read_sealed
from domain.audit import Fault, FaultKind
from domain.audit_check import ChainCheck, SealedBatch


async def check_all(batches: AsyncIterable[SealedBatch], check: ChainCheck) -> list[Fault]:
    """Every fault of the chain, in its order, and what is missing at its end."""
    found: list[Fault] = []
    async for batch in batches:
        found += check.check(batch)
    return [*found, *_as_list(check.end())]


class Rounds:
    """Checks about `rows` rows at each step; at the end of the chain, the next step begins at its first seal."""

    def __init__(self, engine: AsyncEngine, *, rows: int, read_anchors: Callable[[], Anchors]) -> None:
        self._engine = engine
        self._rows = rows
        self._read_anchors = read_anchors
        self._check: ChainCheck | None = None
        self._since = LOWEST

    async def step(self) -> list[Fault]:
        """The faults of the next part; those of the anchors at the begin of a round."""
        found: list[Fault] = []
        if self._check is None:
            # An anchor is made of a seal that stands, so those read now are of seals that this round will meet.
            anchors = self._read_anchors()
            self._check, self._since = ChainCheck(anchors=anchors.good), LOWEST
            found += faults_of(anchors)
        check, seen = self._check, 0
        async with self._engine.connect() as connection:
            async for batch in read_sealed(connection, after=check.number, since=self._since):
                found += check.check(batch)
                self._since = batch.seal.horizon
                seen += len(batch.rows)
                if seen >= self._rows:
                    return found
            odd = await read_oddities(connection)
        self._check = None
        return [*found, *_as_list(check.end()), *odd]

    def begin_anew(self) -> None:
        """Let the next step begin a round at the first seal."""
        self._check = None


def faults_of(anchors: Anchors) -> list[Fault]:
    return [
        Fault(kind=FaultKind.ANCHOR_FORGED, message=str(bad), seal_number=0, audit_id=bad.key)
        for bad in anchors.bad
    ]


def _as_list(fault: Fault | None) -> Iterable[Fault]:
    return [] if fault is None else [fault]
