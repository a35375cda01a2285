"""The server's side of the control calls: what a test or a person does to the simulated broker."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from brokers.simulator import constants as mt5
from brokers.simulator.chaos import Chaos
from brokers.simulator.fault_wire import all_from_wire, from_wire, to_wire
from brokers.simulator.faults import Event
from brokers.simulator.feed import ALL_SYMBOLS, Feed
from brokers.simulator.market import Side
from brokers.simulator.records import Deal, Order, Position
from brokers.simulator.symbols import Symbol
from brokers.simulator.terminal import Terminal

DECIMAL_TERMS = frozenset({"volume_min", "volume_max", "volume_step", "volume_limit", "level_lots", "contract"})
TERMS = DECIMAL_TERMS | {
    "trade_mode",
    "session_open",
    "stops_level",
    "freeze_level",
    "filling_flags",
    "exemode",
    "levels",
    "listed",
}


SWITCHES = frozenset(
    {
        "connected",
        "trade_allowed",
        "tradeapi_disabled",
        "account_trade_allowed",
        "account_trade_expert",
        "limit_orders",
    }
)


class Controls:
    """Each public method is a call; a ValueError is answered as a refusal with its text."""

    def __init__(self, terminal: Terminal, feed: Feed, *, calls: frozenset[str]) -> None:
        """`calls` are those that faults can befall."""
        self._terminal = terminal
        self._feed = feed
        self._befallen = calls
        self.calls: dict[str, Callable[..., Any]] = {
            name: getattr(self, name) for name in vars(type(self)) if not name.startswith("_")
        }

    def tick(self, symbol: str, bid: str, ask: str) -> None:
        self._terminal.on_tick(self._symbol(symbol).name, Decimal(bid), Decimal(ask))

    def hold_market(self, symbol: str) -> None:
        self._feed.hold(self._symbol_or_all(symbol))

    def release_market(self, symbol: str) -> None:
        self._feed.release(self._symbol_or_all(symbol))

    def script(self, op: str, symbol: str, turns: list[list[dict[str, Any]]], *, repeat: bool) -> None:
        if not any(fnmatchcase(call, op) for call in self._befallen):
            raise ValueError(f"no such call: {op}")
        faults = [all_from_wire(turn) for turn in turns]
        self._terminal.faults.script(op, self._symbol_or_all(symbol), faults, repeat=repeat)

    def chaos(self, seed: int, rates: dict[str, float]) -> None:
        """Draw faults by chance from now on; without rates, no more."""
        for name in rates:
            _, at, op = name.partition("@")
            if at and not any(fnmatchcase(call, op) for call in self._befallen):
                raise ValueError(f"{name}: no such call: {op}")
        self._terminal.faults.chaos = Chaos(seed, rates) if rates else None

    def happen(self, event: dict[str, Any], symbol: str) -> None:
        happening = from_wire(event)
        if not isinstance(happening, Event):
            raise ValueError(f"{event['kind']} befalls a call and cannot happen by itself")  # noqa: TRY004
        self._terminal.happenings.play(happening, self._symbol(symbol).name if symbol else "")

    def played(self) -> list[dict[str, Any]]:
        """The calls that faults have befallen, oldest first."""
        return [
            {"op": op, "symbol": symbol, "faults": [to_wire(fault) for fault in faults.all()]}
            for op, symbol, faults in self._terminal.faults.played
        ]

    def clear_faults(self) -> None:
        self._terminal.faults.clear()

    def books(self) -> dict[str, Any]:
        store = self._terminal.store
        return {
            "balance": str(self._terminal.books.balance),
            "credit": str(self._terminal.books.credit),
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
        return self._terminal.happenings.book_money(
            mt5.DEAL_TYPE_BALANCE, Decimal(amount), comment="Deposit"
        ).ticket

    def manual_trade(self, symbol: str, side: str, lots: str, sl: str, tp: str) -> int:
        return self._terminal.happenings.manual_trade(
            self._symbol(symbol).name, Side(side), Decimal(lots), sl=Decimal(sl), tp=Decimal(tp)
        )

    def manual_close(self, ticket: int, lots: str | None) -> list[int]:
        """Deals of a close by hand."""
        position = self._terminal.books.positions.get(ticket)
        if position is None:
            raise ValueError(f"no position {ticket}")
        closing = position.lots if lots is None else Decimal(lots)
        if not 0 < closing <= position.lots:
            raise ValueError(f"position {ticket} holds {position.lots} lots")
        return [deal.ticket for deal in self._terminal.happenings.manual_close(position, closing)]

    def slip_money(self, amount: str, *, credit: bool) -> None:
        """Move the balance, or the credit, without any record."""
        self._terminal.books.slip_money(Decimal(amount), credit=credit)

    def record_late(self, amount: str, ago_ms: int) -> int:
        """The ticket of a balance deal that shows now, dated back, for money that has moved before."""
        return self._terminal.happenings.record_late(Decimal(amount), ago_ms=ago_ms).ticket

    def slip_position(self, symbol: str, lots: str, ticket: int) -> int:
        """Have a position hold other lots, be gone (0), or, without a ticket, be there, without any record."""
        return self._terminal.happenings.slip_position(self._symbol(symbol).name, Decimal(lots), ticket=ticket)

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
            elif name in SWITCHES:
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
