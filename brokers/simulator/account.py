"""The trading account: its terms, and its equity and margin derived from the books and the market."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from brokers.simulator.books import Books
from brokers.simulator.market import Market, Side
from brokers.simulator.open_profit import OpenProfit
from brokers.simulator.records import ZERO, Position
from brokers.simulator.symbols import Symbol
from brokers.simulator.valuation import Valuation

STOP_OUT_PERCENT = Decimal(30)
MARGIN_CALL_PERCENT = Decimal(50)


class MarginMode(StrEnum):
    HEDGING = "hedging"
    NETTING = "netting"


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountTerms:
    """`password` None means that any is taken; it is never written to the state."""

    login: int = 50001
    password: str | None = None
    server: str = "Simulated-Demo"
    currency: str = "USD"
    leverage: int = 100
    margin_mode: MarginMode = MarginMode.HEDGING

    @property
    def identity(self) -> str:
        """What must not change between two runs on one state file."""
        return f"{self.login} {self.server} {self.currency} {self.margin_mode}"


class Account:
    def __init__(
        self,
        terms: AccountTerms,
        books: Books,
        market: Market,
        valuation: Valuation,
        symbols: Mapping[str, Symbol],
    ) -> None:
        self.terms = terms
        self._books = books
        self._open_profit = OpenProfit(books, market, valuation, symbols)
        self._market = market
        self._valuation = valuation
        self._symbols = symbols

    @property
    def balance(self) -> Decimal:
        return self._books.balance

    @property
    def credit(self) -> Decimal:
        return self._books.credit

    def price_now(self, position: Position) -> Decimal:
        """Longs are valued at bid, shorts at ask."""
        quote = self._market.quote(position.symbol)
        assert quote is not None, "a symbol with a position has a quote"
        return quote.touch(position.side.opposite)

    def profit(self, position: Position) -> Decimal:
        return self._valuation.profit(
            self._symbols[position.symbol],
            position.side,
            position.lots,
            opened=position.price_open,
            closed=self.price_now(position),
        )

    def floating(self) -> Decimal:
        """The sum of what the positions show, each rounded by itself, plus swap."""
        return self._open_profit.total() + sum((leg.swap for leg in self._books.legs()), ZERO)

    def estimated_equity(self) -> Decimal:
        """Equity from totals per symbol and side, cents off the exact one.

        Cheap enough for every order and every tick with thousands of positions open.
        """
        equity = self.balance + self.credit
        for leg in self._books.legs():
            quote = self._market.quote(leg.symbol)
            assert quote is not None, "a symbol with a position has a quote"
            opened, closed = leg.cost / leg.lots, quote.touch(leg.side.opposite)
            symbol = self._symbols[leg.symbol]
            profit = self._valuation.profit(symbol, leg.side, leg.lots, opened=opened, closed=closed)
            equity += profit + leg.swap
        return equity

    def margin(self) -> Decimal:
        """Both legs of a hedge are charged in full, at their opening prices."""
        legs = self._books.legs()
        margins = (self._valuation.margin(self._symbols[g.symbol], g.lots, g.cost / g.lots) for g in legs)
        return sum(margins, ZERO)

    def free_margin(self) -> Decimal:
        return self.estimated_equity() - self.margin()

    def extra_margin(self, symbol: Symbol, side: Side, lots: Decimal) -> Decimal:
        """Margin that dealing these lots now would add; on netting only what outgrows an opposite position."""
        if self.terms.margin_mode is MarginMode.NETTING:
            opposite = (p.lots for p in self._books.positions_of(symbol.name) if p.side is not side)
            lots = max(ZERO, lots - sum(opposite, ZERO))
        quote = self._market.quote(symbol.name)
        assert quote is not None, "margin is asked for a quoted symbol"
        return self._valuation.margin(symbol, lots, quote.touch(side))


def margin_level(equity: Decimal, margin: Decimal) -> Decimal:
    """Percent; 0 without margin, which is no alarm (facts §6.6)."""
    return equity / margin * 100 if margin else ZERO
