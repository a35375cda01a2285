"""The broker's books: live orders and positions in memory, everything in the store.

1. A change reaches the store in the same transaction that makes it.
2. A failed transaction leaves memory as the store has it.
3. Balance and credit together are the sum of the money of all deals, and of what was made to slip.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.agenda import Agenda
from brokers.simulator.holdings import Holdings, Leg
from brokers.simulator.records import ZERO, Deal, Order, Position
from brokers.simulator.store import Store

FINAL_STATES = frozenset(
    {mt5.ORDER_STATE_CANCELED, mt5.ORDER_STATE_FILLED, mt5.ORDER_STATE_REJECTED, mt5.ORDER_STATE_EXPIRED}
)
# Two series above 2**31, so that whoever keeps a ticket in 32 bits finds out here.
FIRST_ORDER_TICKET = 5_000_000_017
FIRST_DEAL_TICKET = 4_000_000_009
FINALS = ", ".join(str(state) for state in sorted(FINAL_STATES))


class Books:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.balance = ZERO
        self.credit = ZERO
        self.holdings = Holdings()
        self.agenda = Agenda(store)
        self.orders: dict[int, Order] = {}
        self.positions: dict[int, Position] = {}
        self._of_symbol: dict[str, dict[int, Position]] = {}
        self.load()

    def load(self) -> None:
        self.balance = Decimal(self.store.get("balance") or 0)
        self.credit = Decimal(self.store.get("credit") or 0)
        self.agenda.load()
        self.orders = {o.ticket: o for o in self.store.select(Order, f"state NOT IN ({FINALS})")}
        self.positions = {}
        self._of_symbol = {}
        self.holdings = Holdings()
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
        return self.holdings.legs()

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
        """Book the deal under a fresh ticket and move the balance, or the credit, by its money."""
        deal.ticket = self._mint("deal_ticket", FIRST_DEAL_TICKET)
        self.store.save(deal)
        if deal.type == mt5.DEAL_TYPE_CREDIT:
            self.credit += deal.money
            self.store.put("credit", str(self.credit))
        else:
            self._move_balance(deal.money)
        return deal

    def slip_money(self, amount: Decimal, *, credit: bool) -> None:
        """Move money that no deal accounts for."""
        with self.transaction():
            if credit:
                self.credit += amount
                self.store.put("credit", str(self.credit))
            else:
                self._move_balance(amount)

    def amend_deal(self, deal: Deal, *, moved: Decimal) -> None:
        """Store a deal that has changed, and move the balance by what its money changed."""
        self.store.save(deal)
        self._move_balance(moved)

    def save_position(self, position: Position) -> None:
        self.store.save(position)
        self._keep(position)

    def drop_position(self, position: Position) -> None:
        self.store.delete_position(position.ticket)
        del self.positions[position.ticket]
        del self._of_symbol[position.symbol][position.ticket]
        self.holdings.recount(position.ticket, None)

    def _keep(self, position: Position) -> None:
        self.positions[position.ticket] = position
        self._of_symbol.setdefault(position.symbol, {})[position.ticket] = position
        self.holdings.recount(position.ticket, position)

    def _move_balance(self, amount: Decimal) -> None:
        self.balance += amount
        self.store.put("balance", str(self.balance))

    def _mint(self, series: str, first: int) -> int:
        """Strictly rising, not dense: the gap follows from the number itself."""
        last = self.store.get(series)
        ticket = first if last is None else int(last) + 1 + int(last) % 3
        self.store.put(series, str(ticket))
        return ticket
