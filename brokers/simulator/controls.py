"""The server's side of the control calls: what a test or a person does to the simulated broker."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

from brokers.simulator import constants as mt5
from brokers.simulator.faults import from_wire
from brokers.simulator.feed import ALL_SYMBOLS, Feed
from brokers.simulator.market import Side
from brokers.simulator.records import Deal, Order, Position, market_type
from brokers.simulator.requests import Answer, TradeRequest
from brokers.simulator.symbols import Symbol
from brokers.simulator.terminal import Terminal

DECIMAL_TERMS = frozenset({"volume_min", "volume_max", "volume_step", "volume_limit", "level_lots"})
TERMS = DECIMAL_TERMS | {
    "trade_mode",
    "session_open",
    "stops_level",
    "freeze_level",
    "filling_flags",
    "exemode",
    "levels",
}


class Controls:
    """Each public method is a call; a ValueError is answered as a refusal with its text."""

    def __init__(self, terminal: Terminal, feed: Feed) -> None:
        self._terminal = terminal
        self._feed = feed
        self.calls: dict[str, Callable[..., Any]] = {
            name: getattr(self, name) for name in vars(type(self)) if not name.startswith("_")
        }

    def tick(self, symbol: str, bid: str, ask: str) -> None:
        self._terminal.on_tick(self._symbol(symbol).name, Decimal(bid), Decimal(ask))

    def hold_market(self, symbol: str) -> None:
        self._feed.hold(self._symbol_or_all(symbol))

    def release_market(self, symbol: str) -> None:
        self._feed.release(self._symbol_or_all(symbol))

    def script(self, op: str, symbol: str, outcomes: list[dict[str, Any]]) -> None:
        faults = [from_wire(outcome) for outcome in outcomes]
        self._terminal.faults.script(op, self._symbol_or_all(symbol), faults)

    def clear_faults(self) -> None:
        self._terminal.faults.clear()

    def books(self) -> dict[str, Any]:
        store = self._terminal.store
        return {
            "balance": str(self._terminal.books.balance),
            "orders": [_plain(record) for record in store.select(Order)],
            "deals": [_plain(record) for record in store.select(Deal)],
            "positions": [_plain(record) for record in store.select(Position)],
            "sends": [
                {
                    "time_msc": time_msc,
                    "fence": fence,
                    "magic": magic,
                    "request": json.loads(request),
                    "answer": json.loads(answer),
                }
                for time_msc, fence, magic, request, answer in store.sends()
            ],
        }

    def counts(self) -> dict[str, int]:
        return {str(magic): count for magic, count in self._terminal.store.opening_counts().items()}

    def deposit(self, amount: str) -> int:
        return self._terminal.deposit(Decimal(amount)).ticket

    def manual_trade(self, symbol: str, side: str, lots: str, sl: str, tp: str) -> int:
        """A position opened by hand in the terminal: magic 0, reason CLIENT."""
        request = TradeRequest(
            action=mt5.TRADE_ACTION_DEAL,
            symbol=self._symbol(symbol).name,
            volume=Decimal(lots),
            type=market_type(Side(side)),
            type_filling=mt5.ORDER_FILLING_IOC,
            sl=Decimal(sl),
            tp=Decimal(tp),
            reason=mt5.ORDER_REASON_CLIENT,
        )
        with self._terminal.books.transaction():
            outcome = self._terminal.trading.send(request)
        if not isinstance(outcome, Answer):
            raise ValueError(f"refused: {outcome}")  # noqa: TRY004 # a refusal is no type error
        return outcome.order

    def manual_close(self, ticket: int, lots: str | None) -> list[int]:
        """Deals of a close by hand."""
        position = self._terminal.books.positions.get(ticket)
        if position is None:
            raise ValueError(f"no position {ticket}")
        closing = position.lots if lots is None else Decimal(lots)
        if not 0 < closing <= position.lots:
            raise ValueError(f"position {ticket} holds {position.lots} lots")
        with self._terminal.books.transaction():
            deals = self._terminal.exits.close(
                position, lots=closing, reason=mt5.DEAL_REASON_CLIENT, magic=0, comment=""
            )
        return [deal.ticket for deal in deals]

    def set_symbol(self, symbol: str, terms: dict[str, Any]) -> None:
        """Change contract terms until the terminal restarts."""
        if unknown := terms.keys() - TERMS:
            raise ValueError(f"terms that cannot be changed: {', '.join(sorted(unknown))}")
        changed: dict[str, Any] = {name: Decimal(v) if name in DECIMAL_TERMS else v for name, v in terms.items()}
        self._terminal.symbols[symbol] = replace(self._symbol(symbol), **changed)

    def set_switches(self, switches: dict[str, Any]) -> None:
        """Flip permissions of terminal, broker and account, until the terminal restarts."""
        for name, value in switches.items():
            if name == "exits_keep_magic":
                self._terminal.exits.keep_magic = value
            elif name in self._terminal.switches.__slots__ and name != "unselected":
                setattr(self._terminal.switches, name, value)
            else:
                raise ValueError(f"no such switch: {name}")

    def _symbol(self, name: str) -> Symbol:
        if name not in self._terminal.symbols:
            raise ValueError(f"no such symbol: {name}")
        return self._terminal.symbols[name]

    def _symbol_or_all(self, name: str) -> str:
        return name if name == ALL_SYMBOLS else self._symbol(name).name


def _plain(record: Order | Deal | Position) -> dict[str, Any]:
    return {name: str(v) if isinstance(v, Decimal) else v for name, v in asdict(record).items()}
