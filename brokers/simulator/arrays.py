"""Market data as numpy structured arrays of the package's types; numpy is imported on first use."""

from typing import Any

RATE_FIELDS = [
    ("time", "<i8"),
    ("open", "<f8"),
    ("high", "<f8"),
    ("low", "<f8"),
    ("close", "<f8"),
    ("tick_volume", "<u8"),
    ("spread", "<i4"),
    ("real_volume", "<u8"),
]
TICK_FIELDS = [
    ("time", "<i8"),
    ("bid", "<f8"),
    ("ask", "<f8"),
    ("last", "<f8"),
    ("volume", "<u8"),
    ("time_msc", "<i8"),
    ("flags", "<u4"),
    ("volume_real", "<f8"),
]


def rates_array(rows: list[list[Any]]) -> Any:
    return _array(rows, RATE_FIELDS)


def ticks_array(rows: list[list[Any]]) -> Any:
    return _array(rows, TICK_FIELDS)


def _array(rows: list[list[Any]], fields: list[tuple[str, str]]) -> Any:
    import numpy as np  # noqa: PLC0415 # most users never ask for arrays, and numpy takes longer than the rest

    return np.array([tuple(row) for row in rows], dtype=fields)
