"""What one run of the feed remembers, all of it only to read and write less, and to wait where patience pays."""

from datetime import datetime, timedelta
from uuid import UUID

from db.fills import Orphans
from domain.fills import Fill
from domain.magics import is_ours

# A history that is catching up may show an exit before what it closes; it still belongs to whoever opened that.
ORPHAN_PATIENCE = timedelta(seconds=10)
# Books that were put back get a trade again once its workflow meets them, at its slowest poll.
STRANGER_PATIENCE = timedelta(minutes=10)


def orphans_of(fill: Fill, age: timedelta) -> Orphans:
    """How a fill that was first seen `age` ago is booked, if its trade or its openers are missing."""
    if fill.closing and age < ORPHAN_PATIENCE:
        return Orphans.WAIT
    if is_ours(fill.magic) and age < STRANGER_PATIENCE:
        return Orphans.STRANGERS_WAIT
    return Orphans.BOOK


class Stretch:
    def __init__(self, *, since: datetime) -> None:
        self.since = since
        self.symbols: tuple[str, ...] = ()
        self.deal_count = -1
        self.caught_up = False
        self.known: dict[int, str] = {}
        # Exits whose openers are not known yet, and since when each was seen.
        self.waiting: dict[int, tuple[Fill, datetime]] = {}
        self.looked_up: dict[UUID, int] = {}
        self.look_up_count = 0
        self._done_at: dict[str, datetime] = {}

    def seen_at(self, fill: Fill, now: datetime) -> datetime:
        return self.waiting[fill.ticket][1] if fill.ticket in self.waiting else now

    def due(self, what: str, now: datetime, interval: timedelta) -> bool:
        done_at = self._done_at.get(what)
        return done_at is None or now - done_at >= interval

    def did(self, what: str, now: datetime) -> None:
        self._done_at[what] = now
