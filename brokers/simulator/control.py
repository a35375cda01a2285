"""A hand on the simulated broker, for tests: move the market, script outcomes, audit the books."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from brokers.simulator.client import Address, Connection, TerminalError
from brokers.simulator.fault_wire import all_from_wire, to_wire
from brokers.simulator.faults import ORDER_SEND, Event, Fault
from brokers.simulator.market import Side
from brokers.simulator.records import ZERO, Deal, Order, Position
from brokers.simulator.store import record_of

EVERY_SYMBOL = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class Send:
    """One order_send as the terminal saw it; `answer` is the result row, an error, or the fault that ate it."""

    time_msc: int
    fence: int | None
    magic: int
    request: dict[str, Any]
    answer: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """One call that faults have befallen."""

    op: str
    symbol: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """Everything the broker has on record."""

    balance: Decimal
    credit: Decimal
    orders: tuple[Order, ...]
    deals: tuple[Deal, ...]
    positions: tuple[Position, ...]
    sends: tuple[Send, ...]


class ControlRefused(Exception):
    """The terminal would not do it; the text says why."""


class Control:
    """Control calls over a connection of their own."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = Connection(Address(host, port), connect_seconds=5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def tick(self, symbol: str, bid: Decimal | str, ask: Decimal | str) -> None:
        """Publish a quote; all it triggers has happened on return."""
        self._ask("tick", symbol=symbol, bid=str(bid), ask=str(ask))

    def hold_market(self, symbol: str = EVERY_SYMBOL) -> None:
        """Stop the symbol's own ticks, so that only `tick` moves it."""
        self._ask("hold_market", symbol=symbol)

    def release_market(self, symbol: str = EVERY_SYMBOL) -> None:
        self._ask("release_market", symbol=symbol)

    def script(
        self,
        symbol: str,
        turns: Iterable[Fault | Sequence[Fault]],
        *,
        op: str = ORDER_SEND,
        repeat: bool = False,
    ) -> None:
        """Queue the faults of the next calls of `op` on the symbol, `*` for any.

        A turn is one fault or several that befall the same call. Each turn is used once, or with `repeat` they go
        round. `op` may be a pattern such as `history_*_get`.
        """
        several = [[turn] if isinstance(turn, Fault) else turn for turn in turns]
        wired = [[to_wire(fault) for fault in faults] for faults in several]
        self._ask("script", op=op, symbol=symbol, turns=wired, repeat=repeat)

    def chaos(self, seed: int, rates: Mapping[str, float]) -> None:
        """Befall calls by chance from now on, until `clear_faults`; scripts go before.

        `rates` maps a fault, or a fault and its calls as in `answer_lost@positions_get`, to a share from 0 to 1.
        """
        self._ask("chaos", seed=seed, rates=dict(rates))

    def happen(self, event: Event, *, symbol: str = "") -> None:
        """Have an event happen now, to this symbol where it needs one."""
        self._ask("happen", event=to_wire(event), symbol=symbol)

    def played(self) -> list[Played]:
        """The calls that faults have befallen, oldest first."""
        return [
            Played(op=call["op"], symbol=call["symbol"], faults=tuple(all_from_wire(call["faults"])))
            for call in self._ask("played")
        ]

    def clear_faults(self) -> None:
        """End scripts and chaos; what has happened stays."""
        self._ask("clear_faults")

    def books(self) -> Audit:
        answer = self._ask("books")
        return Audit(
            balance=Decimal(answer["balance"]),
            credit=Decimal(answer["credit"]),
            orders=tuple(record_of(Order, row) for row in answer["orders"]),
            deals=tuple(record_of(Deal, row) for row in answer["deals"]),
            positions=tuple(record_of(Position, row) for row in answer["positions"]),
            sends=tuple(Send(**send) for send in answer["sends"]),
        )

    def counts(self) -> dict[int, int]:
        """Opening executions per magic: orders with at least one deal that opened or reversed."""
        return {int(magic): count for magic, count in self._ask("counts").items()}

    def deposit(self, amount: Decimal | str) -> int:
        """The ticket of the balance deal."""
        return int(self._ask("deposit", amount=str(amount)))

    def manual_trade(
        self, symbol: str, side: Side, lots: Decimal | str, *, sl: Decimal = ZERO, tp: Decimal = ZERO
    ) -> int:
        """Trade by hand in the terminal, with magic 0; returns the order's ticket."""
        return int(self._ask("manual_trade", symbol=symbol, side=side, lots=str(lots), sl=str(sl), tp=str(tp)))

    def manual_close(self, ticket: int, lots: Decimal | str | None = None) -> list[int]:
        """Close by hand, with magic 0; returns the deals' tickets."""
        return list(self._ask("manual_close", ticket=ticket, lots=None if lots is None else str(lots)))

    def slip_money(self, amount: Decimal | str, *, credit: bool = False) -> None:
        """Move the balance, or the credit, without any record: what no broker should ever do."""
        self._ask("slip_money", amount=str(amount), credit=credit)

    def record_late(self, amount: Decimal | str, *, ago_ms: int) -> int:
        """Show a balance deal dated back, for money that `slip_money` has moved; returns its ticket."""
        return int(self._ask("record_late", amount=str(amount), ago_ms=ago_ms))

    def slip_position(self, symbol: str, lots: Decimal | str, *, ticket: int = 0) -> int:
        """Have `ticket` hold these lots, 0 for gone, or have a bought one appear, without any record."""
        return int(self._ask("slip_position", symbol=symbol, lots=str(lots), ticket=ticket))

    def set_symbol(self, symbol: str, **terms: Any) -> None:
        """Change contract terms (trade_mode, session_open, stops_level, …) until the terminal restarts."""
        plain = {name: str(v) if isinstance(v, Decimal) else v for name, v in terms.items()}
        self._ask("set_symbol", symbol=symbol, terms=plain)

    def set_switches(self, **switches: Any) -> None:
        """Flip permissions (connected, trade_allowed, …) or `exits_keep_magic` until the process ends."""
        self._ask("set_switches", switches=switches)

    def _ask(self, op: str, /, **args: Any) -> Any:
        try:
            return self._connection.ask(f"control.{op}", args)
        except TerminalError as error:
            raise ControlRefused(error.args[1]) from error
