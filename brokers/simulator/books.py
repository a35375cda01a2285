"""The broker's books: live orders and positions in memory, everything in the store.

1. A change reaches the store in the same transaction that makes it.
2. A failed transaction leaves memory as the store has it.
3. The balance is the sum of the money of all deals.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.market import Side
from brokers.simulator.records import ZERO, Deal, Order, Position
from brokers.simulator.store import Store

FINAL_STATES = frozenset(
    {mt5.ORDER_STATE_CANCELED, mt5.ORDER_STATE_FILLED, mt5.ORDER_STATE_REJECTED, mt5.ORDER_STATE_EXPIRED}
)
# Two series above 2**31, so that whoever keeps a ticket in 32 bits finds out here.
FIRST_ORDER_TICKET = 5_000_000_017
FIRST_DEAL_TICKET = 4_000_000_009
FINALS = ", ".join(str(state) for state in sorted(FINAL_STATES))


@dataclass(slots=True)
class Leg:
    """All positions of one symbol and side, as totals; `cost` is the sum of lots times opening price."""

    symbol: str
    side: Side
    lots: Decimal = ZERO
    cost: Decimal = ZERO
    swap: Decimal = ZERO

    def move(self, sign: int, position: Position) -> None:
        self.lots += sign * position.lots
        self.cost += sign * position.lots * position.price_open
        self.swap += sign * position.swap


class Books:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.balance = ZERO
        self._legs: dict[tuple[str, Side], Leg] = {}
        self._counted: dict[int, Position] = {}
        self.orders: dict[int, Order] = {}
        self.positions: dict[int, Position] = {}
        self._of_symbol: dict[str, dict[int, Position]] = {}
        self.load()

    def load(self) -> None:
        self.balance = Decimal(self.store.get("balance") or 0)
        self.orders = {o.ticket: o for o in self.store.select(Order, f"state NOT IN ({FINALS})")}
        self.positions = {}
        self._of_symbol = {}
        self._legs = {}
        self._counted = {}
        for position in self.store.select(Position):
            self._keep(position)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            with self.store.transaction():
                yield
        except BaseException:
            self.load()
            raise

    def mint_order_ticket(self) -> int:
        return self._mint("order_ticket", FIRST_ORDER_TICKET)

    def legs(self) -> list[Leg]:
        """Totals per symbol and side; their work does not grow with the number of positions."""
        return [leg for leg in self._legs.values() if leg.lots > 0]

    def positions_of(self, symbol: str) -> list[Position]:
        return list(self._of_symbol.get(symbol, {}).values())

    def orders_of(self, symbol: str) -> list[Order]:
        return [order for order in self.orders.values() if order.symbol == symbol]

    def save_order(self, order: Order) -> None:
        self.store.save(order)
        if order.state in FINAL_STATES:
            self.orders.pop(order.ticket, None)
        else:
            self.orders[order.ticket] = order

    def finish(self, order: Order, state: int, *, now_msc: int) -> None:
        assert state in FINAL_STATES, "an order finishes in a final state"
        order.state = state
        order.done_msc = now_msc
        order.plan = "[]"
        self.save_order(order)

    def add_deal(self, deal: Deal) -> Deal:
        """Book the deal under a fresh ticket and move the balance by its money."""
        deal.ticket = self._mint("deal_ticket", FIRST_DEAL_TICKET)
        self.store.save(deal)
        self.balance += deal.money
        self.store.put("balance", str(self.balance))
        return deal

    def save_position(self, position: Position) -> None:
        self.store.save(position)
        self._keep(position)

    def drop_position(self, position: Position) -> None:
        self.store.delete_position(position.ticket)
        del self.positions[position.ticket]
        del self._of_symbol[position.symbol][position.ticket]
        self._recount(position.ticket, None)

    def _keep(self, position: Position) -> None:
        self.positions[position.ticket] = position
        self._of_symbol.setdefault(position.symbol, {})[position.ticket] = position
        self._recount(position.ticket, position)

    def _recount(self, ticket: int, position: Position | None) -> None:
        """Keep the legs in step: take out what was counted for this ticket, count what it is now."""
        before = self._counted.pop(ticket, None)
        for sign, counted in ((-1, before), (1, position)):
            if counted is not None:
                key = (counted.symbol, counted.side)
                self._legs.setdefault(key, Leg(*key)).move(sign, counted)
        if position is not None:
            self._counted[ticket] = replace(position)

    def _mint(self, series: str, first: int) -> int:
        """Strictly rising, not dense: the gap follows from the number itself."""
        last = self.store.get(series)
        ticket = first if last is None else int(last) + 1 + int(last) % 3
        self.store.put(series, str(ticket))
        return ticket
