"""What can go wrong at a terminal, named and measured (facts §10.3).

1. A transport fault is about how one answer travels; a call has at most one.
2. An outcome is the broker's way with one `order_send`; a call has at most one.
3. An aftermath is what the order of that call shows or costs afterwards; a call may have several.
4. An event happens at the terminal just before the call, or at once when a person asks for it.
5. None of them makes the books wrong: they change what is shown, when it is shown, or what the broker does.

The first line of each docstring is what `nexus sim faults` says of it.
"""

from dataclasses import dataclass
from decimal import Decimal

from brokers.simulator import constants as mt5

ORDER_SEND = "order_send"


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """Done at once, answered after `ms`."""

    ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerLost:
    """The pipe breaks instead of an answer: None and -10002, then -10004."""

    executed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PipeDead:
    """The pipe is found broken on writing: None and -10001, then -10004; not executed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PipeStuck:
    """Writing fails but the handle stays: None and -10001 on every call until shutdown and initialize."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutOfStep:
    """Replies no longer fit their calls: None and -10000, on later calls too, though these are carried out."""

    executed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang:
    """No answer on this connection ever again."""

    executed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """The calling process ends inside the call, with exit status 70."""

    executed: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryFailure:
    """The call fails with this code of last_error; the connection stays."""

    code: int = mt5.RES_E_FAIL
    executed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """The broker refuses with this retcode; nothing is executed."""

    retcode: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AlgoOff:
    """The terminal refuses: 10027, or None and -8 when switched off `by_option`; nothing is sent."""

    by_option: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeout:
    """10012, whatever happened: executed at once, after `after_ms`, or never."""

    executed: bool
    after_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class NoLink:
    """10031, usually without execution; `executed` plays the other case, after `after_ms`."""

    executed: bool = False
    after_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """10008 now; filled in `parts` equal parts, the last after `after_ms`.

    A `fraction` below 1 fills only that much and cancels the rest, 0 the whole order; with `rejected` the order
    ends rejected instead of cancelled.
    """

    after_ms: int
    parts: int = 1
    fraction: Decimal = Decimal(1)
    rejected: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneLater:
    """10009 with deal 0; the deal follows after `after_ms`."""

    after_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Partial:
    """10010 with this fraction filled and the rest cancelled; under RETURN 10009 and the rest keeps working."""

    fraction: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class ListGap:
    """Neither the order nor its position is listed for `ms` after it was made; on a query: in this answer."""

    ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryLag:
    """History omits the order and its deals for `ms`; on a query: all that is newer, in this answer."""

    ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CommentRewritten:
    """The broker stores the comment cut to `cut` characters, or `text` in its place."""

    cut: int = 16
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LateCommission:
    """Deals without commission, each followed after `after_ms` by a deal of type COMMISSION.

    It names order, position and magic when `linked`, else nothing but the comment.
    """

    after_ms: int
    linked: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitMagicLost:
    """The broker's own exits (SL, TP, stop-out) of this order's position carry magic 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ManualTrade:
    """Somebody opens a position by hand, with magic 0."""

    lots: Decimal = Decimal("0.01")
    side: str = "buy"


@dataclass(frozen=True, kw_only=True, slots=True)
class ManualClose:
    """Somebody closes a position by hand, with magic 0: `ticket`, or the symbol's oldest."""

    ticket: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StopOut:
    """The broker liquidates a position, reason SO: `ticket`, or the symbol's oldest."""

    ticket: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SwapCharged:
    """So many nights of swap are charged on every open position."""

    nights: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class MoneyBooked:
    """A deal that is no trade: `money` is balance, credit, charge, correction, bonus or interest."""

    money: str
    amount: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class DealBusted:
    """A deal is cancelled: type BUY_CANCELED or SELL_CANCELED, profit 0, and a correction takes the profit back.

    The deal is `ticket`, or the symbol's newest. The position stays as it is: brokers settle that by trades.
    """

    ticket: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class DealAmended:
    """The commission of a booked deal changes, and the balance with it: `ticket`, or the symbol's newest."""

    commission: Decimal
    ticket: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockStepped:
    """The server's clock moves by so many hours, as on a change of summer time."""

    hours: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountSwitched:
    """The terminal shows another account, empty and closed to trading, for `ms`, or until a login to its own."""

    ms: int = 0
    login: int = 99_999
    server: str = "Other-Demo"
    trade_mode: int = mt5.ACCOUNT_TRADE_MODE_DEMO


@dataclass(frozen=True, kw_only=True, slots=True)
class TerminalRestarted:
    """The terminal restarts: -10001, -10004, then initialize works after `down_ms`; request_id begins again.

    History is empty for `sync_ms` after that, and the Algo Trading button is off if told.
    """

    down_ms: int = 0
    sync_ms: int = 0
    algo_off: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkLost:
    """The terminal loses its broker for `ms`, orders get 10031; then history is empty for `sync_ms`."""

    ms: int
    sync_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryStale:
    """History is empty for `ms`, as before the first synchronisation."""

    ms: int


TransportFault = Delay | AnswerLost | PipeDead | PipeStuck | OutOfStep | Hang | Crash | QueryFailure
Outcome = Reject | AlgoOff | Timeout | NoLink | Placed | DoneLater | Partial
ViewFault = ListGap | HistoryLag
Aftermath = ViewFault | CommentRewritten | LateCommission | ExitMagicLost
Event = (
    ManualTrade
    | ManualClose
    | StopOut
    | SwapCharged
    | MoneyBooked
    | DealBusted
    | DealAmended
    | ClockStepped
    | AccountSwitched
    | TerminalRestarted
    | LinkLost
    | HistoryStale
)
Fault = TransportFault | Outcome | Aftermath | Event
