"""Whether the configured zone is the broker's: a wrong one would misdate every fill without any other sign."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from domain.orders import Quote

# Two looks no further apart than this show that a quote which changed between them is live.
LIVE = timedelta(minutes=1)
# Clocks are set a little wrong; zones differ by a quarter of an hour at least.
TOLERANCE = timedelta(minutes=10)


class ZoneWatch:
    """Judges by live quotes alone: a closed market shows old ticks, which tell nothing about the clock."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[datetime, datetime]] = {}
        self.off: timedelta | None = None

    def offset(self, quotes: Iterable[Quote]) -> timedelta | None:
        """How far the broker's clock is from the configured zone by every live quote, None if one of them fits.

        Quotes that tell nothing leave the last judgement standing: a wrong clock is wrong until it is seen right.
        """
        offsets = []
        for quote in quotes:
            at, read_at = self._seen.get(quote.symbol, (quote.at, quote.read_at))
            self._seen[quote.symbol] = (quote.at, quote.read_at)
            if at != quote.at and quote.read_at - read_at <= LIVE:
                offsets.append(quote.at - quote.read_at)
        if offsets:
            nearest = min(offsets, key=abs)
            self.off = nearest if abs(nearest) > TOLERANCE else None
        return self.off


def spoken(offset: timedelta) -> str:
    minutes = round(abs(offset) / timedelta(minutes=1))
    return f"{minutes} min {'ahead' if offset > timedelta(0) else 'behind'}"
