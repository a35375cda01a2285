"""The `MetaTrader5` package 5.0.6231, served by the simulated terminal; a drop-in on any platform.

Names, values, argument rules, failure values and `last_error` are the package's. The terminal is named by
`initialize("HOST:PORT")`. The package's helpers `Buy`, `Sell` and `Close` are left out: they resend on a
requote and close positions that are not theirs.
"""  # noqa: N999 # the name is the package's

from typing import Any, TypeVar

from brokers.simulator import constants, parsing
from brokers.simulator.arrays import rates_array, ticks_array
from brokers.simulator.client import TerminalError, address_of, fails_with, session
from brokers.simulator.constants import *  # noqa: F403 # the constants are the package's surface
from brokers.simulator.constants import COPY_TICKS_TRADE, RES_E_INTERNAL_FAIL_TIMEOUT
from brokers.simulator.structs import (
    AccountInfo,
    BookInfo,
    OrderCheckResult,
    OrderSendResult,
    Struct,
    SymbolInfo,
    TerminalInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)

__version__ = constants.__version__
__author__ = constants.__author__

CONNECT_POLL_SECONDS = 0.1
LAST_SECOND = 2**31 - 1

AnyStruct = TypeVar("AnyStruct", bound=Struct)


@fails_with(False)
def initialize(*args: Any, **fields: Any) -> bool:
    """`initialize([path], *, path, login, password, server, timeout=60000, portable)`; timeout in ms."""
    parsing.positional(args, (str,), optional=1)
    path = parsing.text("path", args[0] if args else fields.get("path", ""), units_max=254)
    timeout_seconds = parsing.timeout_seconds(fields)
    credentials = parsing.credentials(fields)
    session.connect(address_of(path or None), timeout_seconds=timeout_seconds)
    until = session.monotonic() + timeout_seconds
    while not session.ask("initialize", fence=session.fence, **credentials):
        if session.monotonic() > until:
            session.disconnect()
            raise TerminalError(RES_E_INTERNAL_FAIL_TIMEOUT, "IPC timeout")
        session.sleep(CONNECT_POLL_SECONDS)
    return True


@fails_with(False)
def login(*args: Any, **fields: Any) -> bool:
    """`login(login, [password], [server], *, timeout)`."""
    parsing.positional(args, (int, str, str), optional=3)
    named = dict(zip(("login", "password", "server"), args, strict=False))
    parsing.timeout_seconds(fields)
    credentials = parsing.credentials({**fields, **named})
    if credentials["login"] is None:
        raise parsing.invalid_argument("login")
    return bool(session.ask("login", **credentials))


@fails_with(None)
def shutdown() -> bool:
    session.disconnect()
    return True


def last_error() -> tuple[int, str]:
    return session.error


@fails_with(None)
def version() -> tuple[int, int, str]:
    build: tuple[int, int, str] = tuple(session.ask("version"))
    return build


@fails_with(None)
def terminal_info() -> TerminalInfo:
    return TerminalInfo(session.ask("terminal_info"))


@fails_with(None)
def account_info() -> AccountInfo:
    return AccountInfo(session.ask("account_info"))


@fails_with(None)
def symbols_total() -> int:
    return int(session.ask("symbols_total"))


@fails_with(None)
def symbols_get(*args: Any, **fields: Any) -> tuple[SymbolInfo, ...]:
    """`symbols_get([group="*USD*,!EUR*"])`."""
    parsing.positional(args, (str,), optional=1)
    parsing.known(fields, ("group",))
    mask = parsing.text("group", args[0], units_max=254) if args else parsing.group(fields)
    return _masked(_structs(SymbolInfo, session.ask("symbols_get")), mask, key="name")


@fails_with(None)
def symbol_info(*args: Any) -> SymbolInfo:
    """`symbol_info(symbol)`."""
    parsing.positional(args, (str,))
    return SymbolInfo(session.ask("symbol_info", name=args[0]))


@fails_with(None)
def symbol_info_tick(*args: Any) -> Tick:
    """`symbol_info_tick(symbol)`."""
    parsing.positional(args, (str,))
    return Tick(session.ask("symbol_info_tick", name=args[0]))


@fails_with(False)
def symbol_select(*args: Any) -> bool:
    """`symbol_select(symbol[, enable=True])`."""
    parsing.positional(args, (str, int), optional=1)
    enable = bool(args[1]) if len(args) > 1 else True
    return bool(session.ask("symbol_select", name=args[0], enable=enable))


@fails_with(False)
def market_book_add(*args: Any) -> bool:
    """`market_book_add(symbol)`."""
    parsing.positional(args, (str,))
    return bool(session.ask("market_book_add", name=args[0]))


@fails_with(None)
def market_book_get(*args: Any) -> tuple[BookInfo, ...]:
    """`market_book_get(symbol)`."""
    parsing.positional(args, (str,))
    return _structs(BookInfo, session.ask("market_book_get", name=args[0]))


@fails_with(False)
def market_book_release(*args: Any) -> bool:
    """`market_book_release(symbol)`."""
    parsing.positional(args, (str,))
    return bool(session.ask("market_book_release", name=args[0]))


@fails_with(None)
def copy_rates_from(*args: Any) -> Any:
    """`copy_rates_from(symbol, timeframe, date_from, count)`: the last `count` bars opened by `date_from`."""
    parsing.positional(args, (str, int, object, int))
    until = parsing.seconds(2, args[2])
    rows = [row for row in session.ask("rates", name=args[0], timeframe=args[1]) if row[0] <= until]
    return rates_array(rows[-args[3] :] if args[3] > 0 else [])


@fails_with(None)
def copy_rates_from_pos(*args: Any) -> Any:
    """`copy_rates_from_pos(symbol, timeframe, start_pos, count)`: 0 is the current bar."""
    parsing.positional(args, (str, int, int, int))
    rows = session.ask("rates", name=args[0], timeframe=args[1])
    end = len(rows) - args[2]
    return rates_array(rows[max(0, end - args[3]) : max(0, end)])


@fails_with(None)
def copy_rates_range(*args: Any) -> Any:
    """`copy_rates_range(symbol, timeframe, date_from, date_to)`."""
    parsing.positional(args, (str, int, object, object))
    since, until = parsing.seconds(2, args[2]), parsing.seconds(3, args[3])
    rows = session.ask("rates", name=args[0], timeframe=args[1])
    return rates_array([row for row in rows if since <= row[0] <= until])


@fails_with(None)
def copy_ticks_from(*args: Any) -> Any:
    """`copy_ticks_from(symbol, date_from, count, flags)`."""
    parsing.positional(args, (str, object, int, int))
    since = parsing.seconds(1, args[1])
    rows = session.ask("ticks", name=args[0], since=since, until=LAST_SECOND)
    return ticks_array(_flagged(rows, args[3])[: args[2]])


@fails_with(None)
def copy_ticks_range(*args: Any) -> Any:
    """`copy_ticks_range(symbol, date_from, date_to, flags)`."""
    parsing.positional(args, (str, object, object, int))
    since, until = parsing.seconds(1, args[1]), parsing.seconds(2, args[2])
    return ticks_array(_flagged(session.ask("ticks", name=args[0], since=since, until=until), args[3]))


@fails_with(None)
def orders_total() -> int:
    return int(session.ask("orders_total"))


@fails_with(None)
def orders_get(*args: Any, **fields: Any) -> tuple[TradeOrder, ...]:
    """`orders_get(*, symbol=|group=|ticket=)`: active orders only; ticket wins, then symbol."""
    return _masked(
        _structs(TradeOrder, session.ask("orders_get", **parsing.choice(args, fields))), parsing.group(fields)
    )


@fails_with(None)
def positions_total() -> int:
    return int(session.ask("positions_total"))


@fails_with(None)
def positions_get(*args: Any, **fields: Any) -> tuple[TradePosition, ...]:
    """`positions_get(*, symbol=|group=|ticket=)`; ticket wins, then symbol."""
    rows = session.ask("positions_get", **parsing.choice(args, fields))
    return _masked(_structs(TradePosition, rows), parsing.group(fields))


@fails_with(None)
def history_orders_total(*args: Any) -> int:
    """`history_orders_total(date_from, date_to)`."""
    return int(session.ask("history_orders_total", **parsing.dates(args)))


@fails_with(None)
def history_orders_get(*args: Any, **fields: Any) -> tuple[TradeOrder, ...]:
    """`history_orders_get(date_from, date_to, [group=])`, or `ticket=`, or `position=`."""
    rows = session.ask("history_orders_get", **parsing.history(args, fields))
    return _masked(_structs(TradeOrder, rows), parsing.group(fields))


@fails_with(None)
def history_deals_total(*args: Any) -> int:
    """`history_deals_total(date_from, date_to)`."""
    return int(session.ask("history_deals_total", **parsing.dates(args)))


@fails_with(None)
def history_deals_get(*args: Any, **fields: Any) -> tuple[TradeDeal, ...]:
    """`history_deals_get(date_from, date_to, [group=])`, or `ticket=` (of the deal), or `position=`."""
    rows = session.ask("history_deals_get", **parsing.history(args, fields))
    return _masked(_structs(TradeDeal, rows), parsing.group(fields))


@fails_with(None)
def order_calc_margin(*args: Any) -> float:
    """`order_calc_margin(action, symbol, volume, price)`; action is BUY or SELL."""
    parsing.positional(args, (int, str, int | float, int | float))
    order_type, name, volume, price = args
    return float(session.ask("order_calc_margin", order_type=order_type, name=name, volume=volume, price=price))


@fails_with(None)
def order_calc_profit(*args: Any) -> float:
    """`order_calc_profit(action, symbol, volume, price_open, price_close)`."""
    parsing.positional(args, (int, str, int | float, int | float, int | float))
    names = ("order_type", "name", "volume", "price_open", "price_close")
    return float(session.ask("order_calc_profit", **dict(zip(names, args, strict=True))))


@fails_with(None)
def order_check(*args: Any, **fields: Any) -> OrderCheckResult:
    """`order_check(request)`; success is retcode 0."""
    request = parsing.trade_request(args, fields)
    row = session.ask("order_check", request=request)
    return OrderCheckResult([*row[:-1], parsing.echo(request)])


@fails_with(None)
def order_send(*args: Any, **fields: Any) -> OrderSendResult:
    """`order_send(request)`, or the fields by name; None means that the outcome is for the caller to find out."""
    request = parsing.trade_request(args, fields)
    row = session.ask("order_send", request=request)
    return OrderSendResult([*row[:-1], parsing.echo(request)])


def _masked(items: tuple[AnyStruct, ...], mask: str | None, key: str = "symbol") -> tuple[AnyStruct, ...]:
    return items if mask is None else tuple(item for item in items if parsing.matches(mask, getattr(item, key)))


def _structs(kind: type[AnyStruct], rows: list[list[Any]]) -> tuple[AnyStruct, ...]:
    return tuple(kind(row) for row in rows)


def _flagged(rows: list[list[Any]], flags: int) -> list[list[Any]]:
    # The simulated symbols quote bid and ask only: no tick carries a trade.
    return [] if flags == COPY_TICKS_TRADE else rows
