"""Going over the whole chain again and again, a part at a time, so that damage is found while it is young."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping

from sqlalchemy.ext.asyncio import AsyncEngine

from db.sealed_rows import read_sealed
from domain.audit import Fault
from domain.audit_check import Anchor, ChainCheck, SealedBatch


async def check_all(batches: AsyncIterable[SealedBatch], check: ChainCheck) -> list[Fault]:
    """Every fault of the chain: the first of each seal, and what is missing at the end."""
    found = []
    async for batch in batches:
        if (fault := check.check(batch)) is not None:
            found.append(fault)
            check.pass_over(batch)
    return [*found, *_as_list(check.end())]


class Rounds:
    """Checks about `rows` rows at each step; at the end of the chain, the next step begins at its first seal."""

    def __init__(
        self, engine: AsyncEngine, *, rows: int, read_anchors: Callable[[], Mapping[int, Anchor]]
    ) -> None:
        self._engine = engine
        self._rows = rows
        self._read_anchors = read_anchors
        self._check: ChainCheck | None = None
        self._since = 0

    async def step(self) -> list[Fault]:
        """The faults of the next part. Raises AnchorForged at the begin of a round."""
        if self._check is None:
            # An anchor is made of a seal that stands, so those read now are of seals that this round will meet.
            self._check, self._since = ChainCheck(anchors=self._read_anchors()), 0
        check, found, seen = self._check, list[Fault](), 0
        async with self._engine.connect() as connection:
            async for batch in read_sealed(connection, after=check.number, since=self._since):
                if (fault := check.check(batch)) is not None:
                    found.append(fault)
                    check.pass_over(batch)
                self._since = batch.seal.horizon
                seen += len(batch.rows)
                if seen >= self._rows:
                    return found
        self._check = None
        return [*found, *_as_list(check.end())]


def _as_list(fault: Fault | None) -> Iterable[Fault]:
    return [] if fault is None else [fault]
