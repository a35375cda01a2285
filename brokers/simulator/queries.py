"""Every call of the package that reads, answered from the terminal's books and market."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from brokers.simulator import constants as mt5
from brokers.simulator.account_row import COMPANY, account_row
from brokers.simulator.bars import TIMEFRAMES, bars_of
from brokers.simulator.books import FINALS
from brokers.simulator.market import Quote, Side
from brokers.simulator.records import ZERO, Deal, Order, Position, side_of
from brokers.simulator.requests import CallFailed, NotAnswered, Refusal, TradeRequest, exact
from brokers.simulator.rows import deal_row, order_row, position_row, symbol_terms, tick_row
from brokers.simulator.structs import BookInfo, OrderCheckResult, SymbolInfo, TerminalInfo, Tick
from brokers.simulator.symbols import Symbol
from brokers.simulator.terminal import Terminal
from brokers.simulator.views import Record

BUILD = 5000
RELEASED = "14 Jun 2025"
HISTORY_ORDER = f"state IN ({FINALS})"


class Queries:
    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._depth_watched: set[str] = set()
        self.calls: dict[str, Callable[..., Any]] = {
            name: getattr(self, name) for name in vars(type(self)) if not name.startswith("_")
        }

    def version(self) -> list[Any]:
        return [500, BUILD, RELEASED]

    def terminal_info(self) -> list[Any]:
        switches = self._terminal.switches
        return TerminalInfo.row(
            connected=switches.connected,
            trade_allowed=switches.trade_allowed,
            tradeapi_disabled=switches.tradeapi_disabled,
            build=BUILD,
            maxbars=100_000,
            ping_last=1_000,
            company=COMPANY,
            name="Simulated Terminal",
            language="English",
        )

    def account_info(self) -> list[Any]:
        return account_row(self._terminal)

    def symbols_total(self) -> int:
        return len(self.symbols_get())

    def symbols_get(self) -> list[list[Any]]:
        return [self.symbol_info(name) for name, symbol in self._terminal.symbols.items() if symbol.listed]

    def symbol_info(self, name: str) -> list[Any]:
        symbol = self._symbol(name)
        selected = name not in self._terminal.switches.unselected
        fields = symbol_terms(symbol, selected=selected)
        fields |= {"chart_mode": mt5.SYMBOL_CHART_MODE_BID, "order_gtc_mode": mt5.SYMBOL_ORDERS_GTC}
        quote = self._terminal.market.quote(name)
        if selected and quote is not None:
            fields |= self._quoted(symbol, quote)
        return SymbolInfo.row(**fields)

    def symbol_info_tick(self, name: str) -> list[Any]:
        """All zero while the symbol is outside the Market Watch (facts §2.3)."""
        self._symbol(name)
        quote = self._terminal.market.quote(name)
        if quote is None or name in self._terminal.switches.unselected:
            return Tick.row()
        return tick_row(quote)

    def symbol_select(self, name: str, *, enable: bool) -> bool:
        self._symbol(name)
        books = self._terminal.books
        if not enable and (books.positions_of(name) or books.orders_of(name)):
            raise CallFailed(mt5.RES_E_FAIL, "Terminal: Call failed")
        self._terminal.select(name, enable=enable)
        return True

    def market_book_add(self, name: str) -> bool:
        self._depth_watched.add(self._symbol(name).name)
        return True

    def market_book_release(self, name: str) -> bool:
        self._depth_watched.discard(self._symbol(name).name)
        return True

    def market_book_get(self, name: str) -> list[list[Any]]:
        symbol = self._symbol(name)
        if name not in self._depth_watched:
            raise CallFailed(mt5.RES_E_NOT_FOUND, "Terminal: Not found")
        market = self._terminal.market
        asks = [(mt5.BOOK_TYPE_SELL, offer) for offer in market.depth(symbol, Side.BUY)]
        bids = [(mt5.BOOK_TYPE_BUY, offer) for offer in market.depth(symbol, Side.SELL)]
        return [
            BookInfo.row(type=kind, price=offer.price, volume=offer.lots, volume_dbl=offer.lots)
            for kind, offer in [*reversed(asks), *bids]
        ]

    def rates(self, name: str, timeframe: int) -> list[list[float | int]]:
        """All bars on record, oldest first; the client cuts out what was asked for."""
        symbol = self._symbol(name)
        if timeframe not in TIMEFRAMES:
            raise CallFailed(mt5.RES_E_INVALID_PARAMS, "Terminal: Invalid params")
        return [bar.row() for bar in bars_of(self._terminal.market.ticks(name), symbol, timeframe)]

    def ticks(self, name: str, since: int, until: int) -> list[list[Any]]:
        self._symbol(name)
        ticks = self._terminal.market.ticks(name)
        return [tick_row(tick) for tick in ticks if since * 1000 <= tick.msc < (until + 1) * 1000]

    def orders_total(self) -> int:
        orders = self._terminal.books.orders
        return len(orders) if self._lists_are_whole else len(self._orders(list(orders.values())))

    def orders_get(self, ticket: int | None = None, symbol: str | None = None) -> list[list[Any]]:
        books = self._terminal.books
        orders = list(books.orders.values()) if symbol is None else books.orders_of(symbol)
        if ticket is not None:
            orders = [order for order in (books.orders.get(ticket),) if order is not None]
        return [order_row(order, self._price_now(order)) for order in self._orders(orders)]

    def positions_total(self) -> int:
        positions = self._terminal.books.positions
        return len(positions) if self._lists_are_whole else len(self._positions(list(positions.values())))

    def positions_get(self, ticket: int | None = None, symbol: str | None = None) -> list[list[Any]]:
        books, account = self._terminal.books, self._terminal.account
        positions = list(books.positions.values()) if symbol is None else books.positions_of(symbol)
        if ticket is not None:
            positions = [position for position in (books.positions.get(ticket),) if position is not None]
        return [
            position_row(position, price_now=account.price_now(position), profit=account.profit(position))
            for position in self._positions(positions)
        ]

    def history_orders_total(self, since: int, until: int) -> int:
        where, parameters = _between("done_msc", since, until)
        return self._count(Order, f"{HISTORY_ORDER} AND {where}", parameters)

    def history_deals_total(self, since: int, until: int) -> int:
        return self._count(Deal, *_between("time_msc", since, until))

    def history_orders_get(
        self, since: int = 0, until: int = 0, ticket: int | None = None, position: int | None = None
    ) -> list[list[Any]]:
        """By done time, ticket or position_id; only orders in a final state are history."""
        where, parameters = _history("done_msc", since, until, ticket, position)
        orders = self._history(Order, f"{HISTORY_ORDER} AND {where}", parameters)
        return [order_row(order, self._price_now(order)) for order in orders]

    def history_deals_get(
        self, since: int = 0, until: int = 0, ticket: int | None = None, position: int | None = None
    ) -> list[list[Any]]:
        """By deal time, the deal's own ticket, or position_id (facts §2.4)."""
        where, parameters = _history("time_msc", since, until, ticket, position)
        return [deal_row(deal) for deal in self._history(Deal, where, parameters)]

    def order_calc_margin(self, order_type: int, name: str, volume: float, price: float) -> float:
        lots, at = _amount(volume), _amount(price)
        return float(self._terminal.valuation.margin(self._priced(order_type, name), lots, at))

    def order_calc_profit(
        self, order_type: int, name: str, volume: float, price_open: float, price_close: float
    ) -> float:
        symbol = self._priced(order_type, name)
        opened, closed = _amount(price_open), _amount(price_close)
        valuation = self._terminal.valuation
        return float(valuation.profit(symbol, side_of(order_type), _amount(volume), opened=opened, closed=closed))

    def order_check(self, request: dict[str, Any]) -> list[Any]:
        try:
            outcome = self._terminal.trading.check(TradeRequest.from_wire(request))
        except ValueError:
            outcome = Refusal(mt5.TRADE_RETCODE_INVALID)
        if isinstance(outcome, NotAnswered):
            raise CallFailed(outcome.code, outcome.message)
        if isinstance(outcome, Refusal):
            return OrderCheckResult.row(retcode=outcome.retcode, comment=outcome.comment)
        return OrderCheckResult.row(
            comment="Done",
            balance=outcome.balance,
            equity=outcome.equity,
            profit=outcome.profit,
            margin=outcome.margin,
            margin_free=outcome.margin_free,
            margin_level=outcome.margin_level,
        )

    @property
    def _lists_are_whole(self) -> bool:
        return self._terminal.views.lists_are_whole and not self._terminal.switches.other_account

    def _orders(self, orders: Sequence[Order]) -> list[Order]:
        """Those that the terminal shows."""
        return [] if self._terminal.switches.other_account else self._terminal.views.orders(orders)

    def _positions(self, positions: Sequence[Position]) -> list[Position]:
        return [] if self._terminal.switches.other_account else self._terminal.views.positions(positions)

    def _history(self, kind: type[Record], where: str, parameters: Sequence[int]) -> list[Record]:
        if self._terminal.switches.other_account:
            return []
        return self._terminal.views.history(self._terminal.store.select(kind, where, parameters))

    def _count(self, kind: type[Record], where: str, parameters: Sequence[int]) -> int:
        if self._terminal.views.history_is_whole and not self._terminal.switches.other_account:
            return self._terminal.store.count(kind, where, parameters)
        return len(self._history(kind, where, parameters))

    def _symbol(self, name: str) -> Symbol:
        symbol = self._terminal.symbols.get(name)
        if symbol is None or not symbol.listed:
            raise CallFailed(mt5.RES_E_NOT_FOUND, "Terminal: Not found")
        return symbol

    def _priced(self, order_type: int, name: str) -> Symbol:
        if order_type not in (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL):
            raise CallFailed(mt5.RES_E_INVALID_PARAMS, "Terminal: Invalid params")
        return self._symbol(name)

    def _price_now(self, order: Order) -> Decimal:
        quote = self._terminal.market.quote(order.symbol)
        return quote.touch(order.side) if quote is not None else ZERO

    def _quoted(self, symbol: Symbol, quote: Quote) -> dict[str, Any]:
        today = self._terminal.market.ranges[symbol.name]
        rate = self._terminal.valuation.rate(symbol.profit_currency, self._terminal.terms.currency)
        tick_value = symbol.contract * symbol.point * rate
        return {
            "time": quote.msc // 1000,
            "bid": quote.bid,
            "ask": quote.ask,
            "bidhigh": today.bid_high,
            "bidlow": today.bid_low,
            "askhigh": today.ask_high,
            "asklow": today.ask_low,
            "spread": (quote.ask - quote.bid) / symbol.point,
            "trade_tick_value": tick_value,
            "trade_tick_value_profit": tick_value,
            "trade_tick_value_loss": tick_value,
        }


def _amount(value: float) -> Decimal:
    try:
        return exact(float(value))
    except ValueError as error:
        raise CallFailed(mt5.RES_E_INVALID_PARAMS, "Terminal: Invalid params") from error


def _between(column: str, since: int, until: int) -> tuple[str, tuple[int, int]]:
    """Both bounds inclusive, in whole server seconds."""
    return f"{column} >= ? AND {column} < ?", (since * 1000, (until + 1) * 1000)


def _history(
    column: str, since: int, until: int, ticket: int | None, position: int | None
) -> tuple[str, tuple[int, ...]]:
    if ticket is not None:
        return "ticket = ?", (ticket,)
    if position is not None:
        return "position_id = ?", (position,)
    return _between(column, since, until)
