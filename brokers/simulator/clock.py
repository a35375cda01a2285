"""The broker's clock: wall time of its own zone, written as if it were UTC (facts §7)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

DAY_SECONDS = 86_400


@dataclass(kw_only=True, slots=True)
class ServerClock:
    """Reads the server's wall clock; `utc_seconds` is the source of true time, `shift_msc` what a person added."""

    zone: tzinfo
    utc_seconds: Callable[[], float] = time.time
    shift_msc: int = 0

    def utc_msc(self) -> int:
        return round(self.utc_seconds() * 1000)

    def now_msc(self) -> int:
        now = self.utc_seconds()
        offset = self.zone.utcoffset(datetime.fromtimestamp(now, UTC).astimezone(self.zone))
        zone_msc = round((offset or timedelta()) / timedelta(milliseconds=1))
        return round(now * 1000) + zone_msc + self.shift_msc

    def now(self) -> int:
        return self.now_msc() // 1000


def end_of_day(server_seconds: int) -> int:
    """The last second of that server day."""
    return server_seconds - server_seconds % DAY_SECONDS + DAY_SECONDS - 1
