"""The simulated terminal put together: books, market, matching, trading, and the beat of its ticks."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from brokers.simulator import constants as mt5
from brokers.simulator.account import Account, AccountTerms
from brokers.simulator.books import Books
from brokers.simulator.checks import Checks, Switches
from brokers.simulator.clock import ServerClock
from brokers.simulator.desk import Desk
from brokers.simulator.duties import Duties
from brokers.simulator.exits import Exits
from brokers.simulator.happenings import SHIFT_META, Happenings
from brokers.simulator.market import Market
from brokers.simulator.matching import Matching
from brokers.simulator.positions import PositionKeeping
from brokers.simulator.records import ZERO
from brokers.simulator.requests import Answer, CallFailed, NotAnswered, Refusal, TradeRequest, comment_of, signed
from brokers.simulator.scripts import NO_FAULTS, CallFaults, Faults
from brokers.simulator.store import Store
from brokers.simulator.structs import OrderSendResult
from brokers.simulator.symbols import SYMBOLS
from brokers.simulator.trading import Trading
from brokers.simulator.valuation import Valuation
from brokers.simulator.views import Views


class StateMismatch(Exception):
    """The state file belongs to another account."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Who sends: the lease number of the connection, None when it never named one."""

    fence: int | None = None


class Terminal:
    """One account at one broker; every change is committed before its answer is returned."""

    def __init__(self, terms: AccountTerms, store: Store, clock: ServerClock, *, deposit: Decimal) -> None:
        """Open the books, or begin them with a deposit; raises StateMismatch for another account's file."""
        self.terms = terms
        self.clock = clock
        clock.shift_msc = int(store.get(SHIFT_META) or 0)
        self.store = store
        self.symbols = {symbol.name: symbol for symbol in SYMBOLS}
        self.market = Market()
        self.books = Books(store)
        self.valuation = Valuation(self.market, self.symbols, currency=terms.currency, leverage=terms.leverage)
        self.account = Account(terms, self.books, self.market, self.valuation, self.symbols)
        self.switches = Switches()
        self.faults = Faults()
        self.views = Views(clock)
        desk = Desk(
            market=self.market,
            books=self.books,
            valuation=self.valuation,
            account=self.account,
            symbols=self.symbols,
            clock=clock,
        )
        keeping = PositionKeeping(desk)
        self.matching = Matching(desk, keeping)
        self.exits = Exits(desk, self.matching)
        checks = Checks(desk, self.switches)
        self.trading = Trading(desk, checks=checks, matching=self.matching, keeping=keeping, views=self.views)
        self.happenings = Happenings(
            desk, trading=self.trading, exits=self.exits, switches=self.switches, views=self.views
        )
        self._duties = Duties(desk, trading=self.trading, switches=self.switches, views=self.views)
        self._requests: Counter[int] = Counter()  # by session: each start of the terminal counts from 1
        self._begin(deposit)

    def on_tick(self, name: str, bid: Decimal, ask: Decimal) -> None:
        """Publish a quote and do all that it triggers."""
        self.market.publish(self.symbols[name], bid, ask, self.clock.now_msc())
        with self.books.transaction():
            self.matching.on_tick(name)
            self.exits.on_tick(name)

    def on_beat(self) -> None:
        """What time alone brings about: expiries, promised fills, the broker's agenda, the nightly swap."""
        with self.books.transaction():
            self.matching.expire()
            self.matching.keep_promises()
            self._duties.perform()
            self.exits.roll_over()

    def next_due_utc_msc(self) -> int | None:
        """When the broker has next something to do that it has promised."""
        dues = (self.matching.next_promise_utc_msc(), self.books.agenda.next_due_utc_msc())
        return min((due for due in dues if due is not None), default=None)

    def order_send(self, fields: dict[str, Any], sender: Sender, faults: CallFaults = NO_FAULTS) -> list[Any]:
        """The result row; raises CallFailed when the call has none. Each call is journaled."""
        with self.books.transaction():
            outcome = self._fenced(sender) or self._send(fields, faults)
            row = None if isinstance(outcome, NotAnswered) else self._result(fields, outcome)
            self.journal(fields, sender, row if row is not None else asdict(outcome))
        if isinstance(outcome, NotAnswered):
            raise CallFailed(outcome.code, outcome.message)
        assert row is not None, "an answered request has a row"
        return row

    def journal(self, fields: dict[str, Any], sender: Sender, answer: Any) -> None:
        self.store.add_send(
            time_msc=self.clock.now_msc(),
            fence=sender.fence,
            magic=signed(fields.get("magic", 0)),
            request=json.dumps(fields),
            answer=json.dumps(answer),
        )

    def raise_fence(self, number: int) -> None:
        """Remember the highest lease number ever seen for the account."""
        if number > (self.highest_fence() or 0):
            with self.books.transaction():
                self.store.put("fence", str(number))

    def highest_fence(self) -> int | None:
        value = self.store.get("fence")
        return None if value is None else int(value)

    def select(self, name: str, *, enable: bool) -> None:
        """Show or hide a symbol in the Market Watch."""
        (self.switches.unselected.discard if enable else self.switches.unselected.add)(name)
        with self.books.transaction():
            self.store.put("unselected", json.dumps(sorted(self.switches.unselected)))

    def _begin(self, deposit: Decimal) -> None:
        known = self.store.get("identity")
        if known is not None and known != self.terms.identity:
            raise StateMismatch(f"the state file belongs to account {known!r}, not {self.terms.identity!r}")
        kept = self.store.get("unselected")
        hidden = [s.name for s in SYMBOLS if not s.selected] if kept is None else json.loads(kept)
        self.switches.unselected.update(hidden)
        if known is None:
            with self.books.transaction():
                self.store.put("identity", self.terms.identity)
                if deposit > ZERO:
                    self.happenings.book_money(mt5.DEAL_TYPE_BALANCE, deposit, comment="Deposit")

    def _fenced(self, sender: Sender) -> NotAnswered | None:
        highest = self.highest_fence()
        if highest is None or (sender.fence is not None and sender.fence >= highest):
            return None
        return NotAnswered(
            mt5.RES_E_FAIL, f"Terminal: fenced: lease {sender.fence or 'none'} is older than {highest}"
        )

    def _send(self, fields: dict[str, Any], faults: CallFaults) -> Answer | Refusal | NotAnswered:
        try:
            request = TradeRequest.from_wire(fields)
        except ValueError:
            return Refusal(mt5.TRADE_RETCODE_INVALID)
        return self.trading.send(request, faults)

    def _result(self, fields: dict[str, Any], outcome: Answer | Refusal) -> list[Any]:
        if isinstance(outcome, Refusal):
            return OrderSendResult.row(retcode=outcome.retcode, comment=outcome.comment)
        session = self.happenings.restarts
        self._requests[session] += 1
        quote = self.market.quote(self.symbol_of(fields))
        return OrderSendResult.row(
            retcode=outcome.retcode,
            deal=outcome.deal,
            order=outcome.order,
            volume=outcome.volume,
            price=outcome.price,
            bid=quote.bid if quote else ZERO,
            ask=quote.ask if quote else ZERO,
            comment=comment_of(outcome.retcode),
            request_id=self._requests[session],
        )

    def symbol_of(self, fields: dict[str, Any]) -> str:
        """The symbol that a request is about, by its order or position when it names none."""
        if fields.get("symbol"):
            return str(fields["symbol"])
        target = self.books.orders.get(fields.get("order", 0)) or self.books.positions.get(
            fields.get("position", 0)
        )
        return target.symbol if target is not None else ""
