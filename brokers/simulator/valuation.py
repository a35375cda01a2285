"""Profit and margin in the account's currency (facts §10.2b)."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal

from brokers.simulator import constants as mt5
from brokers.simulator.market import Market, Side
from brokers.simulator.symbols import Symbol

LEVERAGED = frozenset({mt5.SYMBOL_CALC_MODE_FOREX, mt5.SYMBOL_CALC_MODE_CFDLEVERAGE})


class Valuation:
    def __init__(self, market: Market, symbols: Mapping[str, Symbol], *, currency: str, leverage: int) -> None:
        self._market = market
        self._symbols = symbols
        self._leverage = leverage
        self.currency = currency
        self.digits = 0 if currency == "JPY" else 2
        self._cent = Decimal(1).scaleb(-self.digits)

    def money(self, value: Decimal) -> Decimal:
        """Round to the currency's digits, halves away from zero."""
        return value.quantize(self._cent, rounding=ROUND_HALF_UP)

    def rate(self, source: str, target: str) -> Decimal:
        """Units of `target` for one of `source`; bid when selling the source, 1/ask when buying it back."""
        if source == target:
            return Decimal(1)
        direct = self._market.quote(source + target)
        if direct is not None:
            return direct.bid
        inverse = self._market.quote(target + source)
        if inverse is not None:
            return 1 / inverse.ask
        assert "USD" not in (source, target), f"every currency on offer is quoted against USD: {source}{target}"
        return self.rate(source, "USD") * self.rate("USD", target)

    def profit(self, symbol: Symbol, side: Side, lots: Decimal, *, opened: Decimal, closed: Decimal) -> Decimal:
        amount = (closed - opened) * side.sign * symbol.contract * lots
        return self.money(amount * self.rate(symbol.profit_currency, self.currency))

    def margin(self, symbol: Symbol, lots: Decimal, price: Decimal) -> Decimal:
        """Margin of these lots alone, at this price."""
        amount = lots * symbol.contract * symbol.margin_rate
        if symbol.calc_mode in LEVERAGED:
            amount /= self._leverage
        if symbol.calc_mode != mt5.SYMBOL_CALC_MODE_FOREX:
            amount *= price
        elif symbol.profit_currency == self.currency:
            # The symbol's own price is the rate from its base to the account.
            return self.money(amount * price)
        return self.money(amount * self.rate(symbol.margin_currency, self.currency))

    def commission(self, symbol: Symbol, lots: Decimal) -> Decimal:
        """What one side of a deal costs, as a negative amount; the tariff is in USD per lot."""
        return -self.money(symbol.commission_per_lot * lots * self.rate("USD", self.currency))

    def swap(self, symbol: Symbol, side: Side, lots: Decimal) -> Decimal:
        """One night's charge or credit; the tariff is in points."""
        points = symbol.swap_long if side is Side.BUY else symbol.swap_short
        amount = points * symbol.point * symbol.contract * lots
        return self.money(amount * self.rate(symbol.profit_currency, self.currency))
