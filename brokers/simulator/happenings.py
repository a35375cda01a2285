"""Events at the terminal and the broker that no script asked for: hands, liquidations, money, clocks, restarts."""

from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.agenda import Duty
from brokers.simulator.checks import Switches
from brokers.simulator.desk import Desk
from brokers.simulator.exits import Exits
from brokers.simulator.faults import (
    AccountSwitched,
    ClockStepped,
    DealAmended,
    DealBusted,
    Event,
    HistoryStale,
    LinkLost,
    ManualClose,
    ManualTrade,
    MoneyBooked,
    StopOut,
    SwapCharged,
    TerminalRestarted,
)
from brokers.simulator.market import Side
from brokers.simulator.records import ZERO, Deal, Position, market_type
from brokers.simulator.requests import Answer, TradeRequest
from brokers.simulator.trading import Trading
from brokers.simulator.views import Views

HOUR_MSC = 3_600_000
SHIFT_META = "clock_shift_msc"
MONEY_TYPES = {
    "balance": mt5.DEAL_TYPE_BALANCE,
    "credit": mt5.DEAL_TYPE_CREDIT,
    "charge": mt5.DEAL_TYPE_CHARGE,
    "correction": mt5.DEAL_TYPE_CORRECTION,
    "bonus": mt5.DEAL_TYPE_BONUS,
    "interest": mt5.DEAL_TYPE_INTEREST,
}
CANCELED_TYPES = {
    mt5.DEAL_TYPE_BUY: mt5.DEAL_TYPE_BUY_CANCELED,
    mt5.DEAL_TYPE_SELL: mt5.DEAL_TYPE_SELL_CANCELED,
}


class CannotHappen(ValueError):
    """There is nothing for the event to act on, or the broker refuses; the text says which."""


class Happenings:
    def __init__(self, desk: Desk, *, trading: Trading, exits: Exits, switches: Switches, views: Views) -> None:
        self._books = desk.books
        self._symbols = desk.symbols
        self._market = desk.market
        self._clock = desk.clock
        self._trading = trading
        self._exits = exits
        self._switches = switches
        self._views = views
        self.restarts = 0

    def play(self, event: Event, symbol: str = "") -> None:
        """Have it happen, to this symbol where it needs one; raises CannotHappen and leaves all as it was."""
        with self._books.transaction():
            self._play(event, symbol)

    def manual_trade(
        self, symbol: str, side: Side, lots: Decimal, *, sl: Decimal = ZERO, tp: Decimal = ZERO
    ) -> int:
        """The ticket of a position opened by hand: magic 0, reason CLIENT."""
        request = TradeRequest(
            action=mt5.TRADE_ACTION_DEAL,
            symbol=symbol,
            volume=lots,
            type=market_type(side),
            type_filling=mt5.ORDER_FILLING_IOC,
            sl=sl,
            tp=tp,
            reason=mt5.ORDER_REASON_CLIENT,
        )
        with self._books.transaction():
            outcome = self._trading.send(request)
        if not isinstance(outcome, Answer):
            raise CannotHappen(f"refused: {outcome}")
        return outcome.order

    def manual_close(self, position: Position, lots: Decimal) -> list[Deal]:
        with self._books.transaction():
            return self._exits.close(position, lots=lots, reason=mt5.DEAL_REASON_CLIENT, magic=0, comment="")

    def record_late(self, amount: Decimal, *, ago_ms: int) -> Deal:
        """The record of money that has moved before it: dated back, and moving nothing itself."""
        with self._books.transaction():
            self._books.slip_money(-amount, credit=False)
            return self.book_money(mt5.DEAL_TYPE_BALANCE, amount, comment="Balance", ago_ms=ago_ms)

    def slip_position(self, symbol: str, lots: Decimal, *, ticket: int) -> int:
        """Change a position behind the back of every record; it looks as if it had been so for an hour."""
        with self._books.transaction():
            if not ticket:
                return self._appear(symbol, lots)
            position = self._position(ticket, symbol)
            if lots:
                position.lots = lots
                self._books.save_position(position)
            else:
                self._books.drop_position(position)
            return ticket

    def book_money(self, deal_type: int, amount: Decimal, *, comment: str, ago_ms: int = 0) -> Deal:
        """A deal of no order, no position and no symbol (facts §6.1)."""
        with self._books.transaction():
            return self._books.add_deal(
                Deal(
                    ticket=0,
                    order_ticket=0,
                    symbol="",
                    type=deal_type,
                    entry=mt5.DEAL_ENTRY_IN,
                    position_id=0,
                    reason=mt5.DEAL_REASON_CLIENT,
                    time_msc=self._clock.now_msc() - ago_ms,
                    profit=amount,
                    comment=comment,
                )
            )

    def _appear(self, symbol: str, lots: Decimal) -> int:
        quote = self._market.quote(symbol)
        if quote is None:
            raise CannotHappen(f"no quote of {symbol}")
        ticket, began = self._books.mint_order_ticket(), self._clock.now_msc() - HOUR_MSC
        position = Position(
            ticket=ticket,
            identifier=ticket,
            symbol=symbol,
            type=mt5.POSITION_TYPE_BUY,
            lots=lots,
            price_open=quote.ask,
            time_msc=began,
            update_msc=began,
            reason=mt5.POSITION_REASON_CLIENT,
        )
        self._books.save_position(position)
        return ticket

    def _play(self, event: Event, symbol: str) -> None:  # noqa: C901 # one case per event
        match event:
            case ManualTrade():
                name = symbol or next(iter(self._symbols))
                self.manual_trade(name, Side(event.side), event.lots)
            case ManualClose():
                position = self._position(event.ticket, symbol)
                self.manual_close(position, position.lots)
            case StopOut():
                self._exits.stop_out(self._position(event.ticket, symbol))
            case SwapCharged():
                self._exits.charge_swap(event.nights)
            case MoneyBooked():
                self._book_money(event)
            case DealBusted():
                self._bust(self._deal(event.ticket, symbol))
            case DealAmended():
                deal = self._deal(event.ticket, symbol)
                moved, deal.commission = event.commission - deal.commission, event.commission
                self._books.amend_deal(deal, moved=moved)
            case ClockStepped():
                self._clock.shift_msc += event.hours * HOUR_MSC
                self._books.store.put(SHIFT_META, str(self._clock.shift_msc))
                self._market.clock_stepped()
            case AccountSwitched():
                self._switch_account(event)
            case TerminalRestarted():
                self._restart(event)
            case LinkLost():
                self._lose_link(event.ms, sync_ms=event.sync_ms)
            case HistoryStale():
                self._views.forget_history(for_ms=event.ms)

    def _book_money(self, event: MoneyBooked) -> None:
        deal_type = MONEY_TYPES.get(event.money)
        if deal_type is None:
            raise CannotHappen(f"no such money: {event.money!r}, known are {', '.join(MONEY_TYPES)}")
        self.book_money(deal_type, event.amount, comment=event.money.capitalize())

    def _bust(self, deal: Deal) -> None:
        """The money that the deal had moved stays moved; a correction of its own takes it back (facts §6.6)."""
        deal.type = CANCELED_TYPES[deal.type]
        deal.voided, deal.profit = deal.profit, ZERO
        self._books.amend_deal(deal, moved=ZERO)
        if deal.voided:
            self.book_money(mt5.DEAL_TYPE_CORRECTION, -deal.voided, comment=f"Canceled {deal.ticket}")

    def _switch_account(self, event: AccountSwitched) -> None:
        self._switches.other_account = event
        if event.ms:
            self._owe(Duty.SWITCH_BACK, event.ms)

    def _restart(self, event: TerminalRestarted) -> None:
        self.restarts += 1
        self._switches.trade_allowed = self._switches.trade_allowed and not event.algo_off
        self._views.forget_history(for_ms=event.down_ms + event.sync_ms)
        self._lose_link(event.down_ms, sync_ms=event.sync_ms)

    def _lose_link(self, ms: int, *, sync_ms: int) -> None:
        if not ms:
            self._views.forget_history(for_ms=sync_ms)
            return
        self._switches.connected = False
        self._owe(Duty.RECONNECT, ms, sync_ms=sync_ms)

    def _owe(self, duty: Duty, after_ms: int, **terms: int) -> None:
        self._books.agenda.add(duty, due_utc_msc=self._clock.utc_msc() + after_ms, terms=terms)

    def _position(self, ticket: int, symbol: str) -> Position:
        """By ticket, or the oldest, of the symbol if one is given."""
        positions = self._books.positions_of(symbol) if symbol else list(self._books.positions.values())
        found = self._books.positions.get(ticket) if ticket else min(positions, key=_age, default=None)
        if found is None:
            raise CannotHappen(f"no position {ticket}" if ticket else f"no position {symbol}".rstrip())
        return found

    def _deal(self, ticket: int, symbol: str) -> Deal:
        """A trade by its deal's ticket, or the newest, of the symbol if one is given."""
        where, parameters = "type IN (0, 1)", [*([ticket] if ticket else []), *([symbol] if symbol else [])]
        where += " AND ticket = ?" if ticket else ""
        where += " AND symbol = ?" if symbol else ""
        found = self._books.store.newest_deal(where, parameters)
        if found is None:
            raise CannotHappen(f"no deal {ticket or symbol}" if ticket or symbol else "no deal")
        return found


def _age(position: Position) -> tuple[int, int]:
    return position.time_msc, position.ticket
