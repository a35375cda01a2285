"""The terminal on the network: one connection per client, one thread, answers in the order of the calls."""

import asyncio
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from brokers.simulator import constants as mt5
from brokers.simulator.controls import Controls
from brokers.simulator.faults import AnswerLost, Delay, Hang, TradeFault
from brokers.simulator.feed import Feed
from brokers.simulator.queries import Queries
from brokers.simulator.requests import CallFailed
from brokers.simulator.terminal import Sender, Terminal
from brokers.simulator.wire import BadFrame, FrameBuffer, encode

CONTROL_PREFIX = "control."


class Server:
    """Dispatches calls; every call of the package passes the terminal's faults exactly once."""

    def __init__(self, terminal: Terminal, feed: Feed) -> None:
        self._terminal = terminal
        self._queries = Queries(terminal).calls
        self._controls = Controls(terminal, feed).calls
        self._timer: asyncio.TimerHandle | None = None
        self.links: set[Link] = set()

    async def listen(self, host: str, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Link(self), host, port)

    def handle(self, link: "Link", message: dict[str, Any]) -> None:
        """Carry out one call and see to its answer."""
        number, op, args = message["id"], message["op"], message["args"]
        if op.startswith(CONTROL_PREFIX):
            link.send(self._control(number, op.removeprefix(CONTROL_PREFIX), args))
            self._arm()
            return
        if link.hung:
            return
        fault = self._terminal.faults.take(op, self._subject(op, args))
        if isinstance(fault, Hang | AnswerLost):
            if fault.executed:
                self._answer(link, number, op, args)
            elif op == "order_send":
                self._terminal.journal(args["request"], link.sender, {"fault": type(fault).__name__})
            link.hung = True
            if isinstance(fault, AnswerLost):
                link.close()
            self._arm()
            return
        answer = self._answer(link, number, op, args, fault if isinstance(fault, TradeFault) else None)
        if isinstance(fault, Delay):
            asyncio.get_running_loop().call_later(fault.ms / 1000, link.send, answer)
        else:
            link.send(answer)
        self._arm()

    def _answer(
        self, link: "Link", number: int, op: str, args: dict[str, Any], fault: TradeFault | None = None
    ) -> dict[str, Any]:
        try:
            return {"id": number, "ok": self._call(link, op, args, fault)}
        except CallFailed as failure:
            return {"id": number, "error": [failure.code, failure.message]}
        except Exception:  # noqa: BLE001 # the edge: one broken call must not take the market down
            traceback.print_exc(file=sys.stderr)
            return {"id": number, "error": [mt5.RES_E_FAIL, "Terminal: Call failed"]}

    def _call(self, link: "Link", op: str, args: dict[str, Any], fault: TradeFault | None) -> Any:
        own: dict[str, Callable[..., Any]] = {
            "initialize": partial(self._attach, link),
            "login": self._log_in,
            "fence": partial(self._fence, link),
            "order_send": partial(self._order_send, link, fault=fault),
        }
        call = own.get(op) or self._queries.get(op)
        if call is None:
            raise CallFailed(mt5.RES_E_UNSUPPORTED, "Terminal: Unsupported function")
        return call(**args)

    def _attach(self, link: "Link", fence: int | None, **credentials: Any) -> bool:
        """Whether the terminal has its broker; the client polls until it has."""
        self._log_in(**credentials)
        if fence is not None:
            self._fence(link, fence)
        return self._terminal.switches.connected

    def _log_in(self, login: int | None, password: str | None, server: str | None) -> bool:
        """What is not given is taken as saved in the terminal."""
        terms = self._terminal.terms
        wrong = (
            (login is not None and login != terms.login)
            or (server is not None and server != terms.server)
            or (password is not None and terms.password is not None and password != terms.password)
        )
        if wrong:
            raise CallFailed(mt5.RES_E_AUTH_FAILED, "Terminal: Authorization failed")
        return True

    def _fence(self, link: "Link", number: int) -> bool:
        link.sender = Sender(fence=number)
        self._terminal.raise_fence(number)
        return True

    def _order_send(self, link: "Link", request: dict[str, Any], *, fault: TradeFault | None) -> list[Any]:
        return self._terminal.order_send(request, link.sender, fault)

    def _control(self, number: int, op: str, args: dict[str, Any]) -> dict[str, Any]:
        call = self._controls.get(op)
        if call is None:
            return {"id": number, "error": [mt5.RES_E_UNSUPPORTED, f"no such control: {op}"]}
        try:
            return {"id": number, "ok": call(**args)}
        except (ValueError, ArithmeticError, TypeError) as error:
            return {"id": number, "error": [mt5.RES_E_INVALID_PARAMS, f"{op}: {error}"]}

    def _subject(self, op: str, args: dict[str, Any]) -> str:
        if op in ("order_send", "order_check"):
            return self._terminal.symbol_of(args["request"])
        return str(args.get("name") or args.get("symbol") or "")

    def _arm(self) -> None:
        """Wake up exactly when the next promised fill is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_msc = self._terminal.matching.next_promise_msc()
        if due_msc is not None:
            wait = max(0, due_msc - self._terminal.clock.now_msc()) / 1000
            self._timer = asyncio.get_running_loop().call_later(wait, self._keep_promises)

    def _keep_promises(self) -> None:
        self._timer = None
        self._terminal.on_beat()
        self._arm()


class Link(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._frames = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self.sender = Sender()
        self.hung = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a stream socket"
        self._transport = transport
        self._server.links.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # the peer's end is no error here
        self._server.links.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._server.handle(self, message)
        except (BadFrame, KeyError) as error:
            sys.stderr.write(f"closing a connection that does not speak the protocol: {error}\n")
            self.close()

    def send(self, answer: dict[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(encode(answer))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
