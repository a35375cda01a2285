"""The sealer's process: seals what was written, tells how far it came, and goes over what it sealed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from audit.anchors import (
    AnchorRefused,
    Anchors,
    FilePlace,
    Place,
    WebhookPlace,
    anchors_of,
    make_anchor,
)
from audit.checks import Rounds
from audit.signing import Signer
from db import audit_faults, audit_standing
from db.engine import make_engine
from db.journal import raise_alert
from db.seals import TransactionsWentBack, newest_seal, seal_next
from domain.audit import Fault, FaultKind
from settings import SealerSettings

ROWS_PER_SEAL = 5_000
# A part of a round takes a fifth of a second of one core; a million rows are gone over in some ten minutes.
ROWS_PER_CHECK = 20_000

# The newest vouches for all before it; the others narrow down where a chain was made anew.
ANCHORS_PER_ROUND = 1_000

log = logging.getLogger(__name__)


async def run_sealer(settings: SealerSettings, stopping: asyncio.Event, *, now: Callable[[], datetime]) -> None:
    signers = [Signer(key) for key in settings.signing_keys]
    path = settings.anchor_path
    places: list[Place] = [] if path is None else [FilePlace(path)]
    if settings.anchor_url is not None:
        places.append(WebhookPlace(settings.anchor_url))
    engine = make_engine(settings.database_url, application="sealer", pool_size=4)
    sealer = Sealer(
        engine,
        signer=signers[0],
        places=places,
        read_anchors=lambda: (
            Anchors({}, [])
            if path is None
            else anchors_of(path, trusted=[each.public_key for each in signers], newest=ANCHORS_PER_ROUND)
        ),
        pace=SealerPace(
            anchor=settings.anchor_interval.total_seconds(), check=settings.check_interval.total_seconds()
        ),
        now=now,
    )
    try:
        await sealer.run(stopping)
    finally:
        await engine.dispose()


@dataclass(frozen=True, kw_only=True)
class SealerPace:
    """In seconds: how often it looks for new rows, anchors, and checks a part of the chain."""

    seal: float = 0.25
    anchor: float = 60.0
    check: float = 10.0


class Sealer:
    """Several may run; they wait for each other. `read_anchors` gives what was kept where we can read it."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        signer: Signer,
        places: Sequence[Place],
        read_anchors: Callable[[], Anchors],
        pace: SealerPace,
        now: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._signer = signer
        self._places = places
        self._pace = pace
        self._now = now
        self._rounds = Rounds(engine, rows=ROWS_PER_CHECK, read_anchors=read_anchors)
        self._anchored = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until told to stop; what was written by then is sealed and anchored before it ends."""
        # What was written before there was a sealer is in its first anchor.
        await self._once(self.seal)
        async with asyncio.TaskGroup() as tasks:
            for work, seconds in (
                (self.seal, self._pace.seal),
                (self.check, self._pace.check),
                (self.anchor, self._pace.anchor),
            ):
                tasks.create_task(self._keep(work, seconds, stopping))
        await self._once(self.seal)
        await self._once(self.anchor)

    async def seal(self) -> None:
        """Seal all that can be sealed."""
        while True:
            try:
                async with self._engine.begin() as connection:
                    if await seal_next(connection, most=ROWS_PER_SEAL) is None:
                        return
            except TransactionsWentBack as error:
                await self._alert("audit_unsealable", key="audit_unsealable", summary=str(error))
                raise

    async def anchor(self) -> None:
        """Tell every place how far the chain has come, if it has come further since."""
        async with self._engine.connect() as connection:
            newest = await newest_seal(connection)
        if newest is None or newest.seal.number <= self._anchored or not self._places:
            return
        line = make_anchor(newest, self._signer, now=self._now())
        told = await asyncio.gather(*(self._put(place, line) for place in self._places))
        places = [name for name in told if name is not None]
        if places:
            async with self._engine.begin() as connection:
                await audit_standing.note_anchor(connection, newest.seal.number, line=line, places=places)
        if len(places) == len(self._places):
            self._anchored = newest.seal.number

    async def check(self) -> None:
        """Go over the next part of the chain; what is not as it was sealed is noted, and stops trading."""
        try:
            faults = await self._rounds.step()
        except (SQLAlchemyError, OSError):
            raise
        except Exception as error:
            # Not knowing is no reason to go on, and none to stop sealing either.
            log.exception("the audit record could not be checked")
            told = f"the record could not be checked: {type(error).__name__}: {error}"
            faults = [Fault(kind=FaultKind.CHECK_FAILED, message=told, seal_number=0)]
            self._rounds.begin_anew()
        for fault in faults:
            async with self._engine.begin() as connection:
                if await audit_faults.note(connection, fault):
                    log.critical("the audit record is not as it was sealed: %s", fault.message)

    async def _put(self, place: Place, line: str) -> str | None:
        try:
            await place.put(line)
        except AnchorRefused as error:
            log.warning("no anchor was kept by %s", error)
            await self._alert(
                "anchor_refused",
                key=f"anchor_refused:{place.name}:{self._now():%Y-%m-%d}",
                summary=f"the head of the audit chain was not kept by {error}",
            )
            return None
        return place.name

    async def _alert(self, kind: str, *, key: str, summary: str) -> None:
        async with self._engine.begin() as connection:
            await raise_alert(
                connection, kind, key=key, severity="critical", summary=summary, account_id=None, trade_id=None
            )

    async def _keep(self, work: Callable[[], Awaitable[None]], seconds: float, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self._once(work)
            try:
                await asyncio.wait_for(stopping.wait(), timeout=seconds)
            except TimeoutError:
                continue

    @staticmethod
    async def _once(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (SQLAlchemyError, OSError, TransactionsWentBack) as error:
            # The rows stay where they are, unsealed, and the age of the oldest is shown; the next turn tries.
            log.warning("the audit record could not be looked after: %s", error)
