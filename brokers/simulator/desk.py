"""What every part that deals works with."""

from collections.abc import Mapping
from dataclasses import dataclass

from brokers.simulator.account import Account
from brokers.simulator.books import Books
from brokers.simulator.clock import ServerClock
from brokers.simulator.market import Market
from brokers.simulator.symbols import Symbol
from brokers.simulator.valuation import Valuation


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    market: Market
    books: Books
    valuation: Valuation
    account: Account
    symbols: Mapping[str, Symbol]
    clock: ServerClock
