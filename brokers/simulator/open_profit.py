"""The profit of all open positions, valued once per quote and carried along in between."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from brokers.simulator.books import Books
from brokers.simulator.holdings import Alike, Holdings
from brokers.simulator.market import Market, Quote
from brokers.simulator.records import ZERO
from brokers.simulator.symbols import Symbol
from brokers.simulator.valuation import Valuation


@dataclass(slots=True)
class Mark:
    """The total of one symbol at these prices and this rate to the account's currency."""

    prices: tuple[Decimal, Decimal, Decimal]
    total: Decimal


class OpenProfit:
    """Exactly the sum of what the positions show, each rounded by itself."""

    def __init__(self, books: Books, market: Market, valuation: Valuation, symbols: Mapping[str, Symbol]) -> None:
        self._books = books
        self._market = market
        self._valuation = valuation
        self._symbols = symbols
        self._marks: dict[str, Mark] = {}
        self._marked: Holdings | None = None

    def total(self) -> Decimal:
        holdings = self._books.holdings
        if holdings is not self._marked:  # the books were read anew
            self._marked = holdings
            self._marks.clear()
        return sum((self._of_symbol(holdings, name) for name in holdings.symbols()), ZERO)

    def _of_symbol(self, holdings: Holdings, name: str) -> Decimal:
        symbol, quote = self._symbols[name], self._market.quote(name)
        assert quote is not None, "a symbol with a position has a quote"
        rate = self._valuation.rate(symbol.profit_currency, self._valuation.currency)
        prices = (quote.bid, quote.ask, rate)
        moved = holdings.take_moved(name)
        mark = self._marks.get(name)
        if mark is None or mark.prices != prices:
            mark = self._marks[name] = Mark(prices, self._value(symbol, quote, holdings.alike(name)))
        else:
            mark.total += self._value(symbol, quote, moved)
        return mark.total

    def _value(self, symbol: Symbol, quote: Quote, alike: Counter[Alike]) -> Decimal:
        total = ZERO
        for (side, lots, opened), count in alike.items():
            closed = quote.touch(side.opposite)
            total += count * self._valuation.profit(symbol, side, lots, opened=opened, closed=closed)
        return total
