"""The simulated terminal inside this process: the same books, faults and wire answers, without a socket."""

from decimal import Decimal
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from brokers.simulator import client
from brokers.simulator.account import AccountTerms, MarginMode
from brokers.simulator.client import RECEIVE_FAILED, SEND_FAILED, Pipe, PipeBroken
from brokers.simulator.clock import ServerClock
from brokers.simulator.feed import Feed
from brokers.simulator.link import Link
from brokers.simulator.server import Server
from brokers.simulator.store import Store
from brokers.simulator.terminal import Terminal
from stack.chaos.clock import VirtualClock

ZONE = ZoneInfo("Europe/Athens")
LOGIN, SERVER_NAME = 50001, "Simulated-Demo"
DEPOSIT = Decimal(100_000)
# Quotes stay fresh for the gates, and a minute of waiting costs few ticks.
BEAT_SECONDS = 2.0


class ChildHung(BaseException):
    """The terminal will not answer before the caller is killed."""


class ChildDied(BaseException):
    """The process that made the call is gone."""


class BrokerSide:
    """One account at one broker; `deadline_at` is when whoever waits for an answer gives up."""

    def __init__(self, clock: VirtualClock, *, seed: int, margin_mode: MarginMode) -> None:
        self._clock = clock
        self._links: set[Link] = set()
        self.deadline_at = float("inf")
        self.store = Store(":memory:")
        terms = AccountTerms(
            login=LOGIN,
            password=None,
            server=SERVER_NAME,
            currency="USD",
            leverage=100,
            margin_mode=margin_mode,
        )
        server_clock = ServerClock(zone=ZONE, utc_seconds=clock.seconds)
        self.terminal = Terminal(terms, self.store, server_clock, deposit=DEPOSIT)
        self.feed = Feed(self.terminal, seed=seed, interval_seconds=BEAT_SECONDS)
        self.server = Server(self.terminal, self.feed, call_later=clock.call_later)
        self.feed.open()
        self._beat()

    def session(self) -> client.Session:
        """What a client process would have of its own."""
        return client.Session(
            lambda _address, _timeout: MemoryPipe(self, self._clock),
            monotonic=self._clock.seconds,
            sleep=self._clock.advance,
        )

    def close(self) -> None:
        self.store.close()

    def _beat(self) -> None:
        self.feed.beat()
        self._clock.call_later(BEAT_SECONDS, self._beat)


class MemoryLink(Link):
    """The server's end: answers are left where the pipe takes them."""

    def __init__(self, side: BrokerSide) -> None:
        super().__init__(side.server.links, side.server.handle)
        self.answers: list[dict[str, Any]] = []
        self.closed = False
        side.server.links.add(self)

    def close(self) -> None:
        self.closed = True
        self._links.discard(self)

    def _write(self, answer: dict[str, Any]) -> None:
        if not self.closed:
            self.answers.append(answer)


class MemoryPipe(Pipe):
    """The client's end; while an answer is on its way, time passes."""

    def __init__(self, side: BrokerSide, clock: VirtualClock) -> None:
        super().__init__()
        self._side = side
        self._clock = clock
        self._link = MemoryLink(side)

    def close(self) -> None:
        self._link.close()

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        link = self._link
        if link.closed:
            raise PipeBroken(*SEND_FAILED)
        link.answers.clear()
        self._side.server.handle(link, message)
        while not link.answers:
            if link.closed:
                raise PipeBroken(*RECEIVE_FAILED)
            if link.hung or self._clock.seconds() >= self._side.deadline_at or not self._clock.advance_to_next():
                raise ChildHung
        return link.answers.pop(0)

    def _crash(self, status: int) -> NoReturn:
        raise ChildDied(f"exit status {status}")
