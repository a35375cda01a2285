"""A terminal in this process with a clock of our own, and a terminal as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from brokers.simulator.account import AccountTerms, MarginMode
from brokers.simulator.clock import ServerClock
from brokers.simulator.control import Control
from brokers.simulator.faults import Fault
from brokers.simulator.parsing import trade_request
from brokers.simulator.queries import Queries
from brokers.simulator.scripts import CallFaults
from brokers.simulator.store import Store
from brokers.simulator.structs import OrderSendResult, TradeDeal, TradeOrder, TradePosition
from brokers.simulator.terminal import Sender, Terminal

ROOT = Path(__file__).parents[3]
START_UTC = 1_772_452_800.0  # Monday 2 March 2026, 12:00 UTC
OFFSET_HOURS = 2
FAR = 10**9


class Bench:
    """The terminal without network or chance: ticks and time move only by hand."""

    def __init__(
        self,
        *,
        margin_mode: MarginMode = MarginMode.HEDGING,
        balance: str = "100000",
        currency: str = "USD",
        path: Path | str = ":memory:",
    ) -> None:
        self.utc = START_UTC
        terms = AccountTerms(margin_mode=margin_mode, currency=currency)
        zone = timezone(timedelta(hours=OFFSET_HOURS))
        clock = ServerClock(zone=zone, utc_seconds=lambda: self.utc)
        self.store = Store(path)
        self.terminal = Terminal(terms, self.store, clock, deposit=Decimal(balance))
        self.queries = Queries(self.terminal)
        self.queries.symbol_select("US500", enable=True)
        self.tick("EURUSD", "1.10000", "1.10010")
        self.tick("GBPUSD", "1.27000", "1.27012")
        self.tick("USDJPY", "150.000", "150.010")
        self.tick("XAUUSD", "2000.00", "2000.20")
        self.tick("US500", "5000.0", "5000.5")

    @property
    def now(self) -> int:
        """Server seconds."""
        return self.terminal.clock.now()

    def tick(self, symbol: str, bid: str, ask: str) -> None:
        self.terminal.on_tick(symbol, Decimal(bid), Decimal(ask))

    def wait(self, seconds: float) -> None:
        self.utc += seconds
        self.terminal.on_beat()

    def send(self, *faults: Fault, **fields: Any) -> OrderSendResult:
        befallen = CallFaults.of("order_send", faults)
        return OrderSendResult(self.terminal.order_send(trade_request((), fields), Sender(), befallen))

    def deal(self, type: int, volume: float, *, symbol: str = "EURUSD", **fields: Any) -> OrderSendResult:  # noqa: A002
        """A market order, IOC unless told; `fault` befalls it, or `faults` do."""
        faults = (fields.pop("fault"),) if "fault" in fields else fields.pop("faults", ())
        return self.send(
            *faults, **{"action": 1, "symbol": symbol, "type": type, "volume": volume, "type_filling": 1, **fields}
        )

    def pend(self, type: int, price: float, *, volume: float = 0.1, **fields: Any) -> OrderSendResult:  # noqa: A002
        """A pending order, RETURN unless told."""
        request = {
            "action": 5,
            "symbol": "EURUSD",
            "type": type,
            "volume": volume,
            "price": price,
            "type_filling": 2,
        }
        return self.send(**{**request, **fields})

    def positions(self) -> list[TradePosition]:
        return [TradePosition(row) for row in self.queries.positions_get()]

    def position(self) -> TradePosition:
        (position,) = self.positions()
        return position

    def orders(self) -> list[TradeOrder]:
        return [TradeOrder(row) for row in self.queries.orders_get()]

    def past_order(self, ticket: int) -> TradeOrder:
        (row,) = self.queries.history_orders_get(ticket=ticket)
        return TradeOrder(row)

    def deals(self) -> list[TradeDeal]:
        """Trades only, without the balance operations."""
        return [deal for deal in self.history() if deal.type < 2]

    def history(self) -> list[TradeDeal]:
        """Every deal that the terminal shows."""
        return [TradeDeal(row) for row in self.queries.history_deals_get(self.now - FAR, self.now + FAR)]


class Process:
    """`python -m brokers.simulator` on a free port."""

    def __init__(self, state: Path, *options: str) -> None:
        command = [sys.executable, "-m", "brokers.simulator", "--port", "0", "--state", str(state), *options]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("simulated terminal ready on "), self._failure()
        self.port = int(line.rsplit(":", 1)[1])
        self.address = f"127.0.0.1:{self.port}"

    def control(self) -> Control:
        return Control("127.0.0.1", self.port)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Asks it to stop; returns its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        self._process.communicate(timeout=10)
        return self._process.returncode

    def _failure(self) -> str:
        return self._process.communicate(timeout=10)[1]


def run_to_end(state: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """For starts that must fail."""
    command = [sys.executable, "-m", "brokers.simulator", "--state", str(state), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def wait_for(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the condition did not come true in time"
        time.sleep(0.005)
