"""The lives of the demo's trades: each is sent through the REST API and followed until it is settled.

Volumes fit the first limits of the embedded stack: what is open at once is worth far less than they allow, and the
order that is meant to be denied far more.
"""

import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from brokers.simulator.client import TerminalError
from brokers.simulator.control import Control, ControlRefused
from brokers.simulator.faults import Reject
from domain.orders import OrderState, OrderType, Side
from stack.demo_account import ACCOUNT
from stack.errors import StackError

VOLUME = "0.10"
TOO_MUCH = "99.00"
# The book of this index shows 0.4 lots at a time, and the rest of an order waits for the next quote.
THIN_SYMBOL = "US500"
THIN_VOLUME = "1.00"
REFUSED_SYMBOL = "GBPUSD"
REFUSAL = Reject(retcode=10006)
FAR_FROM_MARKET = Decimal("0.9")

FOLLOW_SECONDS = 20.0
QUOTES_SECONDS = 30.0
QUOTE_AGE_MAX_MS = 2000
# The laws compare the broker's balance only once it was read this long after the last booking.
BALANCE_AFTER = timedelta(seconds=1.5)
POLL_SECONDS = 0.05

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Life:
    """One trade from receipt to settlement; `trade` is None when it could not even be sent."""

    title: str
    expected: str
    got: str
    as_expected: bool
    trade: Json | None
    events: Sequence[Json]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The states that a life passes through, and what else is to be true of its trade in the end."""

    title: str
    states: tuple[OrderState, ...]
    told: str
    also: Callable[[Json], bool]


class Lives:
    def __init__(self, api: httpx.Client, *, symbol: str, terminal_port: int) -> None:
        self._api = api
        self._terminal_port = terminal_port
        self._symbol = symbol
        # New ids in each run, so that a second one sends new trades instead of meeting its first.
        self._run = secrets.token_hex(4)

    def await_quotes(self) -> None:
        """Wait until the account and every symbol that is traded here have just been read."""
        wanted = {self._symbol, THIN_SYMBOL, REFUSED_SYMBOL}

        def fresh() -> bool:
            account = self._account()
            snapshot = account["snapshot"]
            read = {quote["symbol"] for quote in account["quotes"] if quote["age_ms"] < QUOTE_AGE_MAX_MS}
            return snapshot is not None and snapshot["age_ms"] < QUOTE_AGE_MAX_MS and wanted <= read

        if not _poll(fresh, within_seconds=QUOTES_SECONDS):
            raise StackError(f"no fresh quotes of {', '.join(sorted(wanted))} within {QUOTES_SECONDS:.0f} s")

    def filled(self) -> Life:
        expected = Expectation(
            title="A market order is filled",
            states=(OrderState.FILLED,),
            told="",
            also=lambda trade: Decimal(trade["filled_volume"]) == Decimal(VOLUME),
        )
        return self._live(expected, lambda: self._send("market", symbol=self._symbol))

    def filled_in_parts(self) -> Life:
        expected = Expectation(
            title="A market order is filled in parts",
            states=(OrderState.PARTIALLY_FILLED, OrderState.FILLED),
            told=" by several fills",
            also=lambda trade: len(trade["fills"]) > 1,
        )
        return self._live(expected, lambda: self._send("parts", symbol=THIN_SYMBOL, volume=THIN_VOLUME))

    def cancelled(self) -> Life:
        expected = Expectation(
            title="A limit order far from the market rests and is cancelled",
            states=(OrderState.WORKING, OrderState.CANCELLED),
            told="",
            also=lambda trade: not trade["fills"],
        )

        def send_and_cancel() -> Json:
            resting = self._send("limit", symbol=self._symbol, type=OrderType.LIMIT, price=self._far_price())
            answer = self._api.post(
                f"/api/trading/trades/{resting['id']}/cancel", json={"client_order_id": self._id("cancel")}
            )
            trade: Json = answer.json()["trade"]
            return trade

        return self._live(expected, send_and_cancel)

    def denied(self) -> Life:
        expected = Expectation(
            title="An order beyond the limits is denied",
            states=(OrderState.DENIED,),
            told=" by risk",
            also=lambda trade: bool(trade["denials"]) and trade["reservation"] is None,
        )
        return self._live(expected, lambda: self._send("large", symbol=self._symbol, volume=TOO_MUCH))

    def rejected(self) -> Life:
        expected = Expectation(
            title="An order is rejected by the broker, which was told to",
            states=(OrderState.REJECTED,),
            told=" with nothing left held",
            also=lambda trade: trade["reservation"]["state"] == "released",
        )

        def send_to_a_refusal() -> Json:
            with self._terminal() as terminal:
                terminal.script(REFUSED_SYMBOL, [REFUSAL])
                sent = self._send("refused", symbol=REFUSED_SYMBOL)
                if sent["state"] != OrderState.REJECTED:
                    # What no send has used up must not meet the next one.
                    terminal.clear_faults()
            return sent

        return self._live(expected, send_to_a_refusal)

    def closed(self, opened: Life, *, title: str) -> Life:
        """The close of the position that an earlier life has opened; it passes through the same states."""
        expected = Expectation(
            title=title,
            states=tuple(_states(opened.events)),
            told=", and the position is gone",
            also=lambda trade: _poll(lambda: not self._shows(trade["position_id"]), within_seconds=FOLLOW_SECONDS),
        )

        def close() -> Json:
            if opened.trade is None or not opened.trade["fills"]:
                raise StackError("there is no position to close")
            position_id = opened.trade["fills"][0]["position_id"]
            if not _poll(lambda: self._shows(position_id), within_seconds=FOLLOW_SECONDS):
                raise StackError(f"position {position_id} does not show")
            answer: Json = self._api.post(
                f"/api/trading/positions/{position_id}/close",
                json={"client_order_id": self._id(f"close-{position_id}")},
            ).json()
            return answer

        return self._live(expected, close)

    def await_balance(self, lives: Sequence[Life]) -> None:
        """Wait until the account was read after all that was done to it, so that its balance can be compared."""
        instants = [life.trade["closed_at"] for life in lives if life.trade is not None]
        closed = [datetime.fromisoformat(instant) for instant in instants if instant is not None]

        def read_since() -> bool:
            read_at = datetime.fromisoformat(self._account()["snapshot"]["read_at"])
            return all(read_at > closed_at + BALANCE_AFTER for closed_at in closed)

        if not _poll(read_since, within_seconds=FOLLOW_SECONDS):
            raise StackError(f"the account was not read again within {FOLLOW_SECONDS:.0f} s")

    def _live(self, expected: Expectation, play: Callable[[], Json]) -> Life:
        told = " → ".join(expected.states) + expected.told
        trade: Json | None = None
        events: Sequence[Json] = ()
        try:
            trade = self._settled(play())
            events = self._events(trade)
            states = _states(events)
            settled = states == list(expected.states) and trade["closed_at"] is not None
            as_expected = settled and expected.also(trade)
            got = told if as_expected else _got(trade, states)
        except StackError as refusal:
            as_expected, got = False, str(refusal)
        return Life(
            title=expected.title, expected=told, got=got, as_expected=as_expected, trade=trade, events=events
        )

    def _send(self, name: str, **order: str) -> Json:
        body = {"account": ACCOUNT, "side": Side.BUY, "type": OrderType.MARKET, "volume": VOLUME, **order}
        answer: Json = self._api.post(
            "/api/trading/execute", json={**body, "client_order_id": self._id(name)}
        ).json()
        return answer

    def _settled(self, trade: Json) -> Json:
        """The trade once nothing can happen to it any more, or as it is when the time is up."""
        path = f"/api/trading/trades/{trade['id']}"
        _poll(lambda: self._api.get(path).json()["closed_at"] is not None, within_seconds=FOLLOW_SECONDS)
        settled: Json = self._api.get(path).json()
        return settled

    def _events(self, trade: Json) -> Sequence[Json]:
        page = self._api.get(f"/api/trading/trades/{trade['id']}/events", params={"limit": 200}).json()
        items: Sequence[Json] = page["items"]
        return items

    @contextmanager
    def _terminal(self) -> Iterator[Control]:
        try:
            with Control("127.0.0.1", self._terminal_port) as control:
                yield control
        except (OSError, TerminalError, ControlRefused) as error:
            raise StackError(f"the simulated terminal: {error}") from error

    def _shows(self, position_id: int) -> bool:
        positions = self._api.get("/api/trading/positions").json()["positions"]
        return any(position["position_id"] == position_id for position in positions)

    def _far_price(self) -> str:
        quote = next(quote for quote in self._account()["quotes"] if quote["symbol"] == self._symbol)
        bid = Decimal(quote["bid"])
        return str((bid * FAR_FROM_MARKET).quantize(bid))

    def _account(self) -> Json:
        accounts: Sequence[Json] = self._api.get("/api/system/status").json()["accounts"]
        found = next((account for account in accounts if account["account"] == ACCOUNT), None)
        if found is None:
            raise StackError(f"the trader has no account {ACCOUNT}")
        return found

    def _id(self, name: str) -> str:
        return f"demo-{self._run}-{name}"


def _states(events: Sequence[Json]) -> list[OrderState]:
    """The states that the events led through, each once however many fills it lasted."""
    passed = [OrderState(event["payload"]["to"]) for event in events if "to" in event["payload"]]
    return [state for state, _ in itertools.groupby(passed)]


def _got(trade: Json, states: Sequence[str]) -> str:
    reason = f", {trade['reason']}" if trade["reason"] else ""
    settled = "" if trade["closed_at"] else ", not settled"
    return f"{' → '.join(states) or trade['state']} by {len(trade['fills'])} fills{reason}{settled}"


def _poll(condition: Callable[[], bool], *, within_seconds: float) -> bool:
    """Whether the condition came to hold in time."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
