"""Which filling modes an order may be sent with, the preferred one first."""

from collections.abc import Mapping
from typing import Any

from brokers.mt5.constants import ExecutionNumber, FillingFlag, FillingMode

FLAGGED = ((FillingFlag.FOK, FillingMode.FOK), (FillingFlag.IOC, FillingMode.IOC))


def candidates(symbol: Mapping[str, Any], *, pending: bool, wanted: int | None) -> tuple[int, ...]:
    """`wanted` is the caller's own demand, which nothing may replace."""
    if wanted is not None:
        return (wanted,)
    flags = FillingFlag(symbol["filling_mode"])
    flagged = tuple(int(mode) for flag, mode in FLAGGED if flag in flags)
    if pending:
        return (int(FillingMode.RETURN), *flagged)
    match symbol["trade_exemode"]:
        case ExecutionNumber.EXCHANGE:
            return (int(FillingMode.RETURN), *flagged)
        case ExecutionNumber.MARKET:
            # RETURN is forbidden here; a symbol without bits leaves no choice but to try.
            return flagged or (int(FillingMode.FOK), int(FillingMode.IOC))
        case _:
            return (int(FillingMode.FOK), int(FillingMode.IOC), int(FillingMode.RETURN))
