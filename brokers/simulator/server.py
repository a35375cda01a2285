"""The terminal on the network: one connection per client, one thread, answers in the order of the calls."""

import asyncio
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from brokers.simulator import constants as mt5
from brokers.simulator.client import SEND_FAILED
from brokers.simulator.controls import Controls
from brokers.simulator.faults import (
    ORDER_SEND,
    AnswerLost,
    Crash,
    Delay,
    Event,
    Hang,
    OutOfStep,
    PipeDead,
    PipeStuck,
    QueryFailure,
    TransportFault,
)
from brokers.simulator.feed import Feed
from brokers.simulator.happenings import CannotHappen
from brokers.simulator.link import Answer, Link
from brokers.simulator.queries import Queries
from brokers.simulator.requests import CallFailed
from brokers.simulator.scripts import CallFaults, executes
from brokers.simulator.terminal import Sender, Terminal

CONTROL_PREFIX = "control."
CRASH_STATUS = 70
FAILURES = {mt5.RES_E_FAIL: "Call failed", mt5.RES_E_NO_MEMORY: "Out of memory", mt5.RES_E_NOT_FOUND: "Not found"}


class Timer(Protocol):
    def cancel(self) -> None: ...


class CallLater(Protocol):
    def __call__(self, seconds: float, act: Callable[[], object], /) -> Timer:
        """Have something happen after so many seconds, unless it is cancelled before."""


def by_the_loop(seconds: float, act: Callable[[], object], /) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, act)


class Server:
    """Dispatches calls; every call of the package passes the terminal's faults exactly once."""

    def __init__(self, terminal: Terminal, feed: Feed, *, call_later: CallLater = by_the_loop) -> None:
        self._terminal = terminal
        self._call_later = call_later
        self._queries = Queries(terminal).calls
        own = ("initialize", "login", "fence", ORDER_SEND)
        self._controls = Controls(terminal, feed, calls=frozenset((*own, *self._queries))).calls
        self._timer: Timer | None = None
        self.links: set[Link] = set()

    async def listen(self, host: str, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Link(self.links, self.handle), host, port)

    def handle(self, link: Link, message: dict[str, Any]) -> None:
        """Carry out one call and see to its answer."""
        number, op, args = message["id"], message["op"], message["args"]
        restarts = self._terminal.happenings.restarts
        if op.startswith(CONTROL_PREFIX):
            link.controls = True
            link.send(self._control(number, op.removeprefix(CONTROL_PREFIX), args))
        elif link.stuck is not None:
            link.send({"id": number, "error": link.stuck})
        elif not link.hung:
            self._befall(link, number, op, args)
        if self._terminal.happenings.restarts != restarts:
            self._break_links()
        self._arm()

    def _befall(self, link: Link, number: int, op: str, args: dict[str, Any]) -> None:
        """Carry out one call under its faults."""
        symbol = self._subject(op, args)
        faults = self._terminal.faults.take(op, symbol)
        restarts = self._terminal.happenings.restarts
        for event in faults.events:
            self._happen(event, symbol)
        if self._terminal.happenings.restarts != restarts:
            self._leave(link, op, args, by="TerminalRestarted")
            link.send({"id": number, "broken": SEND_FAILED})
            return
        if faults.transport is None:
            link.send(self._answer(link, number, op, args, faults))
            return
        answer: Answer | None = None
        if executes(faults.transport):
            answer = self._answer(link, number, op, args, faults)
        else:
            self._leave(link, op, args, by=type(faults.transport).__name__)
        self._deliver(link, number, answer, faults.transport)

    def _deliver(self, link: Link, number: int, answer: Answer | None, fault: TransportFault) -> None:
        """What reaches the client of the answer, None when the call was not carried out."""
        match fault:
            case Delay(ms=ms):
                assert answer is not None, "a delayed call is carried out"
                self._call_later(ms / 1000, partial(link.send, answer))
            case AnswerLost():
                link.hung = True
                link.close()
            case Hang():
                link.hung = True
            case PipeDead():
                link.send({"id": number, "broken": SEND_FAILED})
                link.close()
            case PipeStuck():
                link.stuck = SEND_FAILED
                link.send({"id": number, "error": SEND_FAILED})
            case OutOfStep():
                link.skewed = True
                link.send({"id": number, "ok": None})
            case Crash():
                link.send({"id": number, "crash": CRASH_STATUS})
            case QueryFailure(code=code):
                link.send({"id": number, "error": [code, f"Terminal: {FAILURES.get(code, 'Call failed')}"]})

    def _leave(self, link: Link, op: str, args: dict[str, Any], *, by: str) -> None:
        """Note a request that never came through."""
        if op == ORDER_SEND:
            self._terminal.journal(args["request"], link.sender, {"fault": by})

    def _happen(self, event: Event, symbol: str) -> None:
        try:
            self._terminal.happenings.play(event, symbol)
        except CannotHappen as reason:
            # Nobody waits for an event of chance; on request the control call says why not.
            sys.stderr.write(f"{type(event).__name__} did not happen: {reason}\n")

    def _break_links(self) -> None:
        """A restart breaks every pipe; hands on the broker itself are no pipes of the terminal."""
        for link in list(self.links):
            if not link.controls:
                link.close()

    def _answer(self, link: Link, number: int, op: str, args: dict[str, Any], faults: CallFaults) -> Answer:
        try:
            with self._terminal.views.narrowed(() if op == ORDER_SEND else faults.aftermath):
                return {"id": number, "ok": self._call(link, op, args, faults)}
        except CallFailed as failure:
            return {"id": number, "error": [failure.code, failure.message]}
        except Exception:  # noqa: BLE001 # the edge: one broken call must not take the market down
            traceback.print_exc(file=sys.stderr)
            return {"id": number, "error": [mt5.RES_E_FAIL, "Terminal: Call failed"]}

    def _call(self, link: Link, op: str, args: dict[str, Any], faults: CallFaults) -> Any:
        own: dict[str, Callable[..., Any]] = {
            "initialize": partial(self._attach, link),
            "login": self._log_in,
            "fence": partial(self._fence, link),
            ORDER_SEND: partial(self._order_send, link, faults=faults),
        }
        call = own.get(op) or self._queries.get(op)
        if call is None:
            raise CallFailed(mt5.RES_E_UNSUPPORTED, "Terminal: Unsupported function")
        return call(**args)

    def _attach(self, link: Link, fence: int | None, **credentials: Any) -> bool:
        """Whether the terminal has its broker; the client polls until it has."""
        self._log_in(**credentials)
        if fence is not None:
            self._fence(link, fence)
        return self._terminal.switches.connected

    def _log_in(self, login: int | None, password: str | None, server: str | None) -> bool:
        """What is not given is taken as saved in the terminal; naming the own account switches back to it."""
        terms = self._terminal.terms
        wrong = (
            (login is not None and login != terms.login)
            or (server is not None and server != terms.server)
            or (password is not None and terms.password is not None and password != terms.password)
        )
        if wrong:
            raise CallFailed(mt5.RES_E_AUTH_FAILED, "Terminal: Authorization failed")
        if login is not None:
            self._terminal.switches.other_account = None
        return True

    def _fence(self, link: Link, number: int) -> bool:
        link.sender = Sender(fence=number)
        self._terminal.raise_fence(number)
        return True

    def _order_send(self, link: Link, request: dict[str, Any], *, faults: CallFaults) -> list[Any]:
        return self._terminal.order_send(request, link.sender, faults)

    def _control(self, number: int, op: str, args: dict[str, Any]) -> Answer:
        call = self._controls.get(op)
        if call is None:
            return {"id": number, "error": [mt5.RES_E_UNSUPPORTED, f"no such control: {op}"]}
        try:
            return {"id": number, "ok": call(**args)}
        except (ValueError, ArithmeticError, TypeError) as error:
            return {"id": number, "error": [mt5.RES_E_INVALID_PARAMS, f"{op}: {error}"]}

    def _subject(self, op: str, args: dict[str, Any]) -> str:
        """The symbol that a call is about, empty for none."""
        if op in (ORDER_SEND, "order_check"):
            return self._terminal.symbol_of(args["request"])
        return str(args.get("name") or args.get("symbol") or "")

    def _arm(self) -> None:
        """Wake up exactly when the broker's next promise is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_msc = self._terminal.next_due_utc_msc()
        if due_msc is not None:
            wait = max(0, due_msc - self._terminal.clock.utc_msc()) / 1000
            self._timer = self._call_later(wait, self._keep_promises)

    def _keep_promises(self) -> None:
        self._timer = None
        self._terminal.on_beat()
        self._arm()
