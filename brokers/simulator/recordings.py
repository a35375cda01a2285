"""Recorded quotes read from files, checked line by line."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

HEADER = "timestamp,bid,ask"
HISTDATA_TIME = "%Y%m%d %H%M%S%f"


class BadRecording(ValueError):
    """The file cannot be replayed; the message names file and line."""


@dataclass(frozen=True, slots=True)
class RecordedTick:
    """A quote and how many seconds it came after the one before it."""

    gap_seconds: float
    bid: Decimal
    ask: Decimal


def read_recording(path: Path) -> list[RecordedTick]:
    """Read a HistData tick file, or one headed `timestamp,bid,ask`; raises BadRecording."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecording(f"{path}: {error}") from error
    ticks = list(_ticks(path, lines))
    if not ticks:
        raise BadRecording(f"{path}: no quotes in it")
    return ticks


def _ticks(path: Path, lines: list[str]) -> Iterator[RecordedTick]:
    headed = bool(lines) and lines[0].strip() == HEADER
    last: datetime | None = None
    for number, line in enumerate(lines[headed:], start=1 + headed):
        if not line.strip():
            continue
        try:
            at, bid, ask = _iso(line) if headed else _histdata(line)
            _check(bid, ask)
        except (ValueError, InvalidOperation) as error:
            raise BadRecording(f"{path} line {number}: {error}: {line[:60]!r}") from error
        gap = (at - last).total_seconds() if last is not None else 0.0
        if gap < 0:
            raise BadRecording(f"{path} line {number}: earlier than the line before it")
        last = at
        yield RecordedTick(gap, bid, ask)


def _iso(line: str) -> tuple[datetime, Decimal, Decimal]:
    at, bid, ask = line.split(",")
    return datetime.fromisoformat(at), Decimal(bid), Decimal(ask)


def _histdata(line: str) -> tuple[datetime, Decimal, Decimal]:
    at, bid, ask, _volume = line.split(",")
    # Milliseconds without a point: strptime takes them as the head of microseconds.
    return datetime.strptime(at, HISTDATA_TIME).replace(tzinfo=UTC), Decimal(bid), Decimal(ask)


def _check(bid: Decimal, ask: Decimal) -> None:
    if not 0 < bid <= ask:
        raise ValueError(f"bid {bid} and ask {ask} are no quote")
