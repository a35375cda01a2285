"""The broker's clock. Every time in MT5 is the server's wall clock written as if it were a Unix epoch."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # wall clocks have no zone until one is put on
# When the clock is put back, newer records carry older numbers, by at most this.
SETBACK = timedelta(hours=1)
# The newest records lie ahead of every clock but the server's; the package asks for a generous end.
AHEAD = timedelta(days=2)
# A search for an earlier send begins this long before the order was conceived.
BEFORE = timedelta(days=2)


@dataclass(frozen=True)
class ServerClock:
    zone: ZoneInfo

    def to_server(self, instant: datetime) -> int:
        """Seconds of the server's clock, rounded down."""
        wall = instant.astimezone(self.zone).replace(tzinfo=None)
        return (wall - EPOCH) // timedelta(seconds=1)

    def to_utc(self, milliseconds: int) -> datetime:
        """The instant of a record.

        In the hour that autumn repeats this is always the first of the two, so that one record never has two
        instants.
        """
        wall = EPOCH + timedelta(milliseconds=milliseconds)
        return wall.replace(tzinfo=self.zone).astimezone(UTC)

    def to_utc_near(self, milliseconds: int, now: datetime) -> datetime:
        """The instant of something live: of two readings the one nearer to `now`."""
        wall = (EPOCH + timedelta(milliseconds=milliseconds)).replace(tzinfo=self.zone)
        readings = (wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC))
        return min(readings, key=lambda instant: abs(instant - now))

    def window(self, since: datetime, now: datetime) -> tuple[int, int]:
        """Bounds for the history calls that hold every record from `since` on."""
        return self.to_server(since - SETBACK), self.to_server(now + AHEAD)

    def search_window(self, since: datetime, now: datetime) -> tuple[int, int]:
        """Bounds for the search for an earlier send."""
        return self.window(since - BEFORE, now)
