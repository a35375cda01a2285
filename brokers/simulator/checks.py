"""What the terminal refuses before anything is traded, in the order of facts §10.2."""

from dataclasses import dataclass, field
from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator import levels
from brokers.simulator.account import MarginMode
from brokers.simulator.desk import Desk
from brokers.simulator.faults import AccountSwitched
from brokers.simulator.market import Quote, Side
from brokers.simulator.records import MARKET_TYPES, PENDING_TYPES, STOP_LIMIT_TYPES, ZERO, Order, Position, side_of
from brokers.simulator.requests import NotAnswered, Refusal, TradeRequest
from brokers.simulator.symbols import FILLING_BOC, FILLING_FOK, FILLING_IOC, Symbol

FLAG_OF_FILLING = {
    mt5.ORDER_FILLING_FOK: FILLING_FOK,
    mt5.ORDER_FILLING_IOC: FILLING_IOC,
    mt5.ORDER_FILLING_BOC: FILLING_BOC,
}
TIMED = frozenset({mt5.ORDER_TIME_SPECIFIED, mt5.ORDER_TIME_SPECIFIED_DAY})
API_DISABLED = NotAnswered(mt5.RES_E_AUTO_TRADING_DISABLED, "Auto-Trading using Python API disabled in Terminal")
No = Refusal | NotAnswered | None


@dataclass(slots=True)
class Switches:
    """What a person can switch off at the terminal, the broker or the account."""

    connected: bool = True
    trade_allowed: bool = True
    tradeapi_disabled: bool = False
    account_trade_allowed: bool = True
    account_trade_expert: bool = True
    limit_orders: int = 200
    other_account: AccountSwitched | None = None
    unselected: set[str] = field(default_factory=set)


class Checks:
    def __init__(self, desk: Desk, switches: Switches) -> None:
        self._switches = switches
        self._symbols = desk.symbols
        self._market = desk.market
        self._books = desk.books
        self._account = desk.account
        self._clock = desk.clock

    def refusal(self, request: TradeRequest) -> No:
        """None when the request may go to the broker."""
        if (no := self._permission()) is not None:
            return no
        check = {
            mt5.TRADE_ACTION_DEAL: self._deal,
            mt5.TRADE_ACTION_PENDING: self._pending,
            mt5.TRADE_ACTION_SLTP: self._levels,
            mt5.TRADE_ACTION_MODIFY: self._standing,
            mt5.TRADE_ACTION_REMOVE: self._standing,
            mt5.TRADE_ACTION_CLOSE_BY: self._close_by,
        }.get(request.action)
        return check(request) if check is not None else Refusal(mt5.TRADE_RETCODE_INVALID)

    def position_of(self, request: TradeRequest) -> Position | None:
        """The position a request speaks of: by ticket, on netting by symbol."""
        if request.position:
            return self._books.positions.get(request.position)
        if self._account.terms.margin_mode is MarginMode.NETTING:
            return next(iter(self._books.positions_of(request.symbol)), None)
        return None

    def _permission(self) -> No:
        if self._switches.tradeapi_disabled:
            return API_DISABLED
        for allowed, retcode in (
            (self._switches.other_account is None, mt5.TRADE_RETCODE_TRADE_DISABLED),
            (self._switches.trade_allowed, mt5.TRADE_RETCODE_CLIENT_DISABLES_AT),
            (self._switches.account_trade_expert, mt5.TRADE_RETCODE_SERVER_DISABLES_AT),
            (self._switches.account_trade_allowed, mt5.TRADE_RETCODE_TRADE_DISABLED),
            (self._switches.connected, mt5.TRADE_RETCODE_CONNECTION),
        ):
            if not allowed:
                return Refusal(retcode)
        return None

    def _tradable(self, name: str, side: Side | None, *, closing: bool) -> Refusal | tuple[Symbol, Quote]:
        symbol = self._symbols.get(name)
        if symbol is None:
            return Refusal(mt5.TRADE_RETCODE_INVALID)
        quote = None if name in self._switches.unselected else self._market.quote(name)
        if quote is None:
            return Refusal(mt5.TRADE_RETCODE_PRICE_OFF)
        if symbol.trade_mode == mt5.SYMBOL_TRADE_MODE_DISABLED:
            return Refusal(mt5.TRADE_RETCODE_TRADE_DISABLED)
        if side is not None and not closing:
            for mode, allowed, retcode in (
                (mt5.SYMBOL_TRADE_MODE_LONGONLY, side is Side.BUY, mt5.TRADE_RETCODE_LONG_ONLY),
                (mt5.SYMBOL_TRADE_MODE_SHORTONLY, side is Side.SELL, mt5.TRADE_RETCODE_SHORT_ONLY),
                (mt5.SYMBOL_TRADE_MODE_CLOSEONLY, False, mt5.TRADE_RETCODE_CLOSE_ONLY),
            ):
                if symbol.trade_mode == mode and not allowed:
                    return Refusal(retcode)
        if not symbol.session_open:
            return Refusal(mt5.TRADE_RETCODE_MARKET_CLOSED)
        return symbol, quote

    def _deal(self, request: TradeRequest) -> No:
        if request.type not in MARKET_TYPES:
            return Refusal(mt5.TRADE_RETCODE_INVALID_ORDER)
        side = side_of(request.type)
        target = self.position_of(request)
        reduces = target is not None and target.side is not side and request.volume <= target.lots
        closing = bool(request.position) or reduces
        found = self._tradable(request.symbol, side, closing=closing)
        if isinstance(found, Refusal):
            return found
        symbol, quote = found
        no = self._volume(request, symbol, side, closing=closing) or self._filling(request, symbol)
        if no is not None:
            return no
        if not closing:
            if not levels.stops_fit(symbol, quote, side, sl=request.sl, tp=request.tp):
                return Refusal(mt5.TRADE_RETCODE_INVALID_STOPS)
            if self._account.extra_margin(symbol, side, request.volume) > self._account.free_margin():
                return Refusal(mt5.TRADE_RETCODE_NO_MONEY)
        return self._close(request, target, side) if request.position else None

    def _close(self, request: TradeRequest, target: Position | None, side: Side) -> No:
        if target is None:
            return Refusal(mt5.TRADE_RETCODE_POSITION_CLOSED)
        if target.symbol != request.symbol or target.side is side:
            return Refusal(mt5.TRADE_RETCODE_INVALID)
        if request.volume > target.lots:
            return Refusal(mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME)
        working = sum((o.rest for o in self._books.orders.values() if o.closes == target.ticket), ZERO)
        if working + request.volume > target.lots:
            return Refusal(mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST)
        return None

    def _pending(self, request: TradeRequest) -> No:
        if request.type not in PENDING_TYPES:
            return Refusal(mt5.TRADE_RETCODE_INVALID_ORDER)
        side = side_of(request.type)
        found = self._tradable(request.symbol, side, closing=False)
        if isinstance(found, Refusal):
            return found
        symbol, quote = found
        no = (
            self._volume(request, symbol, side, closing=False)
            or self._filling(request, symbol)
            or self._expiration(request)
            or _price(request, symbol, quote, kind=request.type, filling=request.type_filling)
        )
        if no is not None:
            return no
        limit = self._switches.limit_orders
        if limit and len(self._books.orders) >= limit:
            return Refusal(mt5.TRADE_RETCODE_LIMIT_ORDERS)
        return None

    def _standing(self, request: TradeRequest) -> No:
        """MODIFY and REMOVE of a pending order."""
        order = self._books.orders.get(request.order)
        if order is None or (request.symbol and request.symbol != order.symbol):
            return Refusal(mt5.TRADE_RETCODE_INVALID_ORDER)
        found = self._tradable(order.symbol, None, closing=True)
        if isinstance(found, Refusal):
            return found
        symbol, quote = found
        if levels.order_frozen(symbol, quote, order):
            return Refusal(mt5.TRADE_RETCODE_FROZEN)
        if request.action == mt5.TRADE_ACTION_REMOVE:
            return None
        return self._modification(request, order, symbol, quote)

    def _modification(self, request: TradeRequest, order: Order, symbol: Symbol, quote: Quote) -> No:
        if order.type in MARKET_TYPES:
            return Refusal(mt5.TRADE_RETCODE_INVALID_ORDER)
        no = self._expiration(request) or _price(request, symbol, quote, kind=order.type, filling=order.filling)
        if no is None and _unchanged(request, order):
            return Refusal(mt5.TRADE_RETCODE_NO_CHANGES)
        return no

    def _levels(self, request: TradeRequest) -> No:
        position = self.position_of(request)
        name = request.symbol or (position.symbol if position else "")
        found = self._tradable(name, None, closing=True)
        if isinstance(found, Refusal):
            return found
        symbol, quote = found
        retcode = 0
        if position is None:
            retcode = mt5.TRADE_RETCODE_POSITION_CLOSED
        elif position.symbol != name:
            retcode = mt5.TRADE_RETCODE_INVALID
        elif (position.sl, position.tp) == (request.sl, request.tp):
            retcode = mt5.TRADE_RETCODE_NO_CHANGES
        elif levels.position_frozen(symbol, quote, position):
            retcode = mt5.TRADE_RETCODE_FROZEN
        elif not levels.stops_fit(symbol, quote, position.side, sl=request.sl, tp=request.tp):
            retcode = mt5.TRADE_RETCODE_INVALID_STOPS
        return Refusal(retcode) if retcode else None

    def _close_by(self, request: TradeRequest) -> No:
        if self._account.terms.margin_mode is MarginMode.NETTING:
            return Refusal(mt5.TRADE_RETCODE_INVALID_ORDER)
        position = self._books.positions.get(request.position)
        partner = self._books.positions.get(request.position_by)
        if position is None or partner is None:
            return Refusal(mt5.TRADE_RETCODE_POSITION_CLOSED)
        if position.symbol != partner.symbol or position.side is partner.side:
            return Refusal(mt5.TRADE_RETCODE_INVALID)
        found = self._tradable(position.symbol, None, closing=True)
        return found if isinstance(found, Refusal) else None

    def _volume(self, request: TradeRequest, symbol: Symbol, side: Side, *, closing: bool) -> Refusal | None:
        lots = request.volume
        if not symbol.volume_min <= lots <= symbol.volume_max or lots % symbol.volume_step:
            return Refusal(mt5.TRADE_RETCODE_INVALID_VOLUME)
        if symbol.volume_limit and not closing and self._held(symbol, side) + lots > symbol.volume_limit:
            return Refusal(mt5.TRADE_RETCODE_LIMIT_VOLUME)
        return None

    def _held(self, symbol: Symbol, side: Side) -> Decimal:
        """Open and working lots of one direction."""
        lots = [p.lots for p in self._books.positions_of(symbol.name) if p.side is side]
        lots += [o.rest for o in self._books.orders_of(symbol.name) if o.side is side and not o.closes]
        return sum(lots, ZERO)

    def _filling(self, request: TradeRequest, symbol: Symbol) -> Refusal | None:
        """RETURN for every pending and under Exchange execution, the others by the symbol's bits (facts §4.3)."""
        pending = request.type in PENDING_TYPES
        if request.type_filling == mt5.ORDER_FILLING_RETURN:
            allowed = pending or symbol.exemode == mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE
        else:
            allowed = bool(symbol.filling_flags & FLAG_OF_FILLING.get(request.type_filling, 0))
            if request.type_filling == mt5.ORDER_FILLING_BOC:
                allowed = allowed and pending and not levels.is_stop(request.type)
        return None if allowed else Refusal(mt5.TRADE_RETCODE_INVALID_FILL)

    def _expiration(self, request: TradeRequest) -> Refusal | None:
        if request.type_time not in TIMED | {mt5.ORDER_TIME_GTC, mt5.ORDER_TIME_DAY}:
            return Refusal(mt5.TRADE_RETCODE_INVALID_EXPIRATION)
        if request.type_time in TIMED and request.expiration <= self._clock.now():
            return Refusal(mt5.TRADE_RETCODE_INVALID_EXPIRATION)
        return None


def _price(request: TradeRequest, symbol: Symbol, quote: Quote, *, kind: int, filling: int) -> Refusal | None:
    post_only = filling == mt5.ORDER_FILLING_BOC
    if not levels.price_fits(symbol, quote, kind, request.price, post_only=post_only):
        return Refusal(mt5.TRADE_RETCODE_INVALID_PRICE)
    entry = request.price
    if kind in STOP_LIMIT_TYPES:
        entry = request.stoplimit
        if not levels.stoplimit_fits(symbol, kind, price=request.price, stoplimit=entry):
            return Refusal(mt5.TRADE_RETCODE_INVALID_PRICE)
    at_entry = Quote(quote.msc, entry, entry, quote.flags)
    if not levels.stops_fit(symbol, at_entry, side_of(kind), sl=request.sl, tp=request.tp):
        return Refusal(mt5.TRADE_RETCODE_INVALID_STOPS)
    return None


def _unchanged(request: TradeRequest, order: Order) -> bool:
    asked = (request.price, request.sl, request.tp, request.stoplimit, request.type_time)
    same_end = request.type_time not in TIMED or request.expiration == order.expiration
    return same_end and asked == (order.price, order.sl, order.tp, order.stoplimit, order.type_time)
