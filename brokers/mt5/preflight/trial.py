"""The checks that trade, on a demo account alone: the least volume in and out, and a pending order far away.

1. Nothing is sent twice: an order is followed by another only when its answer proves that it was not executed.
2. Whatever was opened is closed and cancelled at the end, after a failure and a hung terminal too.
3. The child that sends looks at the account just before each send, and sends to nothing but the demo account.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from brokers.mt5 import filling
from brokers.mt5.constants import MarginModeNumber
from brokers.mt5.preflight import evidence, orders
from brokers.mt5.preflight.evidence import Traces
from brokers.mt5.preflight.readings import WINDOW, Readings
from brokers.mt5.preflight.report import TRIAL, Journal, Name, failed
from brokers.mt5.preflight.terminal import Hung, Pace, ProbedTerminal, Refused, Unanswered, Way
from brokers.mt5.retcodes import INVALID_FILL
from brokers.mt5.session import Struct
from brokers.mt5.terminals import Reply

T = TypeVar("T")

INVALID_STOPS = 10016
# How long a record may take to show up before it counts as missing.
PATIENCE_SECONDS = 5.0


@dataclass(kw_only=True)
class Opened:
    """What the trial has at the broker. `unclear` says that a send was not answered."""

    magics: tuple[int, int]
    identifiers: set[int] = field(default_factory=set)
    unclear: bool = False


class Trial:
    def __init__(
        self, terminal: ProbedTerminal, way: Way, *, pace: Pace, journal: Journal, readings: Readings
    ) -> None:
        assert readings.account is not None, "a trial follows readings that all passed"
        assert readings.symbol is not None, "a trial follows readings that all passed"
        assert readings.tick is not None, "a trial follows readings that all passed"
        self._terminal = terminal
        self._way = way
        self._pace = pace
        self._journal = journal
        self._account, self._symbol, self._first_tick = readings.account, readings.symbol, readings.tick
        self._mode = readings.filling or 0
        self.opened = Opened(magics=orders.magics(int(pace.now().timestamp())))

    async def run(self) -> None:
        try:
            await self._round_trip()
            if not self.opened.unclear:
                await self._pending()
        except Hung as hung:
            self._fail_next(str(hung), mend="restart the terminal and close its dialogs")
        except (Unanswered, Refused) as failure:
            self._fail_next(str(failure), mend=evidence.LOOK)
        else:
            self._skip_unmade("what it looks at did not come about")

    async def _round_trip(self) -> None:
        if await self._joins_a_position():
            why = f"a position in {self._symbol['name']} is open, and a netting account would add to it"
            self._journal.note(Name.MARKET_ORDER, failed(why, mend="close it, or choose another --symbol"))
            return
        magic = self.opened.magics[0]
        stop = orders.stop_below(self._symbol, self._first_tick)
        started = self._pace.monotonic()
        reply = await self._send_market(magic, stop=float(stop))
        refused = None
        if reply.value is not None and reply.value["retcode"] == INVALID_STOPS:
            # Refused as such, so it was not executed, and another may follow.
            refused, reply = reply.value, await self._send_market(magic, stop=None)
        answered = self._pace.monotonic()
        self._journal.note(
            Name.MARKET_ORDER,
            evidence.market_order(reply, milliseconds=(answered - started) * 1000, magic=magic),
        )
        if not evidence.owned(reply):
            return
        traces = await self._traces(reply.value, answered=answered)
        self._journal.note(
            Name.STOP_LOSS, evidence.stop_loss(float(stop), refused=refused, position=traces.position)
        )
        margin_mode = self._account["margin_mode"]
        self._journal.note(Name.MAGIC, evidence.magic_kept(traces, magic=magic, margin_mode=margin_mode))
        self._journal.note(Name.COMMENT, evidence.comment(traces))
        self._journal.note(Name.REQUEST_ID, evidence.request_id(reply.value))
        if traces.position is not None:
            await self._close(traces.position, magic=magic)
        await self._ticket_queries(reply.value["order"], traces)

    async def _joins_a_position(self) -> bool:
        if self._account["margin_mode"] == MarginModeNumber.RETAIL_HEDGING:
            return False
        return bool(await self._terminal.ask("positions_get", symbol=self._symbol["name"]))

    async def _send_market(self, magic: int, *, stop: float | None) -> Reply:
        reply = Reply(None, 0, "")
        modes = filling.candidates(self._symbol, pending=False, wanted=None)
        for mode in (self._mode, *(other for other in modes if other != self._mode)):
            tick = await self._terminal.ask("symbol_info_tick", self._symbol["name"])
            request = orders.market(self._symbol, tick, magic=magic, mode=mode, stop_loss=None)
            reply = await self.send(request if stop is None else request | {"sl": stop})
            if reply.value is None or reply.value["retcode"] != INVALID_FILL:
                self._mode = mode
                break
        return reply

    async def send(self, request: dict[str, Any]) -> Reply:
        """One call of order_send; an answer that proves nothing is remembered as such."""
        before, self.opened.unclear = self.opened.unclear, True
        reply = await self._terminal.call("order_send", request)
        self.opened.unclear = before or not evidence.proven(reply)
        return reply

    async def _traces(self, result: Struct, *, answered: float) -> Traces:
        """The order's records as they come; tells how long the deal took."""
        polls = 0

        async def deals() -> list[Struct]:
            nonlocal polls
            polls += 1
            return [deal for deal in await self._recent("history_deals_get") if deal["order"] == result["order"]]

        found = await self._shown(deals)
        waited = (self._pace.monotonic() - answered) * 1000
        self._journal.note(Name.DEAL, evidence.deal_delay(found, milliseconds=waited, polls=polls))
        wanted = {deal["position_id"] for deal in found} or {result["order"]}
        self.opened.identifiers |= wanted

        async def position() -> Struct | None:
            shown = await self._terminal.ask("positions_get", symbol=self._symbol["name"])
            return next((each for each in shown if each["identifier"] in wanted), None)

        async def order() -> Struct | None:
            past = await self._terminal.ask("history_orders_get", ticket=result["order"])
            return past[0] if past else None

        return Traces(order=await self._shown(order), deals=found, position=await self._shown(position))

    async def _close(self, position: Struct, *, magic: int) -> None:
        reply = await self.send(await self.closing(position))
        identifier = position["identifier"]

        async def out() -> list[Struct]:
            deals = await self._terminal.ask("history_deals_get", position=identifier)
            return deals if len(deals) > 1 else []

        deals = await self._shown(out) if evidence.owned(reply) else []
        finding = evidence.close(reply, magic=magic, identifier=identifier, deals=deals or [])
        self._journal.note(Name.CLOSE, finding)

    async def closing(self, position: Struct) -> dict[str, Any]:
        """The request that closes a position of this trial at the present price."""
        tick = await self._terminal.ask("symbol_info_tick", position["symbol"])
        return orders.closing(position, tick, magic=self.opened.magics[0], mode=self._mode)

    async def _ticket_queries(self, order: int, traces: Traces) -> None:
        by_order = await self._terminal.call("history_deals_get", ticket=order)
        deal = traces.deals[0]["ticket"] if traces.deals else None
        by_deal = None if deal is None else await self._terminal.call("history_deals_get", ticket=deal)
        finding = evidence.ticket_queries(order=order, by_order=by_order, deal=deal, by_deal=by_deal)
        self._journal.note(Name.TICKET_QUERIES, finding)

    async def _pending(self) -> None:
        magic, reply, request = self.opened.magics[1], Reply(None, 0, ""), {"price": 0.0}
        tick = await self._terminal.ask("symbol_info_tick", self._symbol["name"])
        for mode in filling.candidates(self._symbol, pending=True, wanted=None):
            request = orders.far_limit(self._symbol, tick, magic=magic, mode=mode)
            reply = await self.send(request)
            if reply.value is None or reply.value["retcode"] != INVALID_FILL:
                break
        answered, ticket, listed = self._pace.monotonic(), 0, None
        if evidence.owned(reply):
            ticket = reply.value["order"]
            listed = await self._shown(lambda: self._listed(ticket))
        waited = (self._pace.monotonic() - answered) * 1000
        self._journal.note(
            Name.PENDING_ORDER,
            evidence.pending_order(reply, magic=magic, price=request["price"], listed=listed, milliseconds=waited),
        )
        if listed is not None:
            await self._cancel(ticket)

    async def _cancel(self, ticket: int) -> None:
        reply = await self.send(orders.removal(ticket))

        async def past() -> Struct | None:
            found = await self._terminal.ask("history_orders_get", ticket=ticket)
            return found[0] if found else None

        settled = await self._shown(past) if reply.value is not None else None
        listed = await self._listed(ticket)
        self._journal.note(Name.CANCEL, evidence.cancelled(reply, listed=listed, past=settled))

    async def _listed(self, ticket: int) -> Struct | None:
        found = await self._terminal.ask("orders_get", ticket=ticket)
        return found[0] if found else None

    async def _recent(self, name: str) -> list[Struct]:
        since, until = self._way.clock.window(self._pace.now() - WINDOW, self._pace.now())
        found: list[Struct] = await self._terminal.ask(name, since, until)
        return found

    async def _shown(self, look: Callable[[], Awaitable[T]]) -> T:
        """What `look` finds once it finds something, or its last empty answer when patience ends."""
        give_up_at = self._pace.monotonic() + PATIENCE_SECONDS
        while not (found := await look()) and self._pace.monotonic() < give_up_at:
            await self._pace.pause()
        return found

    def _fail_next(self, seen: str, *, mend: str) -> None:
        """Note a failure under the first check of the trial that has no finding yet."""
        unmade = next(name for name in TRIAL if name not in self._journal.checks)
        self._journal.note(unmade, failed(seen, mend=mend))
        self._skip_unmade("the trial ended early")

    def _skip_unmade(self, why: str) -> None:
        self._journal.skip_rest(tuple(name for name in TRIAL if name is not Name.CLEAN_UP), why)
