"""The numbers of the `MetaTrader5` package that the adapter uses, which can be imported on Windows alone.

Values are those of package 5.0.6231; the bits at the end are documented by MQL5 and missing from the package.
"""

from enum import IntEnum, IntFlag

SUCCESS = 1


class Action(IntEnum):
    DEAL = 1
    PENDING = 5
    SLTP = 6
    MODIFY = 7
    REMOVE = 8
    CLOSE_BY = 10


class OrderKind(IntEnum):
    """Even numbers buy and odd ones sell, up to CLOSE_BY, which has no side."""

    BUY = 0
    SELL = 1
    BUY_LIMIT = 2
    SELL_LIMIT = 3
    BUY_STOP = 4
    SELL_STOP = 5
    BUY_STOP_LIMIT = 6
    SELL_STOP_LIMIT = 7
    CLOSE_BY = 8


class FillingMode(IntEnum):
    FOK = 0
    IOC = 1
    RETURN = 2
    BOC = 3


class OrderTime(IntEnum):
    GTC = 0
    DAY = 1
    SPECIFIED = 2
    SPECIFIED_DAY = 3


class OrderStatus(IntEnum):
    STARTED = 0
    PLACED = 1
    CANCELED = 2
    PARTIAL = 3
    FILLED = 4
    REJECTED = 5
    EXPIRED = 6
    REQUEST_ADD = 7
    REQUEST_MODIFY = 8
    REQUEST_CANCEL = 9


class Reason(IntEnum):
    """Why an order or a deal came to be; both use the same numbers up to SO."""

    CLIENT = 0
    MOBILE = 1
    WEB = 2
    EXPERT = 3
    SL = 4
    TP = 5
    SO = 6
    ROLLOVER = 7


# Stop loss, take profit and stop-out: orders that nobody sent.
BROKERS_OWN = frozenset({Reason.SL, Reason.TP, Reason.SO})


class PositionKind(IntEnum):
    BUY = 0
    SELL = 1


class DealEntry(IntEnum):
    IN = 0
    OUT = 1
    INOUT = 2
    OUT_BY = 3


class AccountMode(IntEnum):
    """Of `account_info().trade_mode`."""

    DEMO = 0
    CONTEST = 1
    REAL = 2


class MarginModeNumber(IntEnum):
    RETAIL_NETTING = 0
    EXCHANGE = 1
    RETAIL_HEDGING = 2


class ExecutionNumber(IntEnum):
    REQUEST = 0
    INSTANT = 1
    MARKET = 2
    EXCHANGE = 3


class FillingFlag(IntFlag):
    """Bits of `symbol_info().filling_mode`; a request takes a FillingMode, which counts differently."""

    FOK = 1
    IOC = 2
    BOC = 4


class OrderFlag(IntFlag):
    """Bits of `symbol_info().order_mode`."""

    MARKET = 1
    LIMIT = 2
    STOP = 4
    STOP_LIMIT = 8
    CLOSE_BY = 64
