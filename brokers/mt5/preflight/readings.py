"""The checks that change nothing, on any account."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from brokers.mt5 import filling
from brokers.mt5.calls import BEGINNING
from brokers.mt5.preflight import judgement, orders
from brokers.mt5.preflight.report import READING, Finding, Journal, Name, Verdict, failed, skipped
from brokers.mt5.preflight.terminal import Hung, Pace, ProbedTerminal, Refused, Unanswered, Way
from brokers.mt5.retcodes import INVALID_FILL, NOT_FOUND
from brokers.mt5.session import ATTACH_TIMEOUT_MS, Struct

SIMILAR_MAX = 8
# As far back as a worker looks when it searches for what it sent.
WINDOW = timedelta(days=2)


@dataclass(kw_only=True)
class Readings:
    """What was seen, None for what was not got to."""

    version: list[Any] | None = None
    terminal: Struct | None = None
    account: Struct | None = None
    symbol: Struct | None = None
    tick: Struct | None = None
    clock_offset: timedelta | None = None
    filling: int | None = None


class Reader:
    def __init__(
        self, terminal: ProbedTerminal, way: Way, *, pace: Pace, journal: Journal, tick_patience: timedelta
    ) -> None:
        self._terminal = terminal
        self._way = way
        self._pace = pace
        self._journal = journal
        self._tick_patience = tick_patience
        self.seen = Readings()

    async def read(self, symbol: str) -> None:
        """Every check that can be made; one that fails ends those that build on it."""
        steps = (
            (Name.TERMINAL, self._attach, judgement.ATTACH_MEND),
            (Name.ACCOUNT, self._account, judgement.ATTACH_MEND),
            (Name.LINK, self._link, judgement.ATTACH_MEND),
            (Name.ALGO_TRADING, self._algo_trading, judgement.ATTACH_MEND),
            (Name.SYMBOL, lambda: self._symbol(symbol), judgement.ATTACH_MEND),
            (Name.TICK, self._tick, "put the symbol into Market Watch"),
            (Name.CLOCK, self._clock, judgement.ATTACH_MEND),
            (Name.FILLING, self._filling, judgement.ATTACH_MEND),
            (Name.ORDER_CHECK, self._order_check, judgement.ATTACH_MEND),
            (Name.LISTS, self._lists, "wait until the terminal has loaded its history"),
        )
        for name, step, mend in steps:
            try:
                finding = await step()
            except Unanswered as unanswered:
                finding = failed(str(unanswered), mend=mend)
            except Refused as refused:
                finding = failed(str(refused), mend="report this line: it is a defect of the pre-flight")
            except Hung as hung:
                self._journal.note(name, failed(str(hung), mend="restart the terminal and close its dialogs"))
                self._journal.skip_rest(READING, "the terminal hung")
                return
            self._journal.note(name, finding)
            if finding.verdict is Verdict.FAILED and name in {Name.TERMINAL, Name.ACCOUNT}:
                self._journal.skip_rest(READING, f"the {name} is not the right one")
                return

    async def _attach(self) -> Finding:
        try:
            reply = await self._terminal.open()
        except Unanswered as missing:
            return failed(str(missing), mend=judgement.PACKAGE_MEND)
        if not reply.value:
            return judgement.unattached(reply.code, reply.message)
        self.seen.version = await self._terminal.ask("version")
        self.seen.terminal = await self._terminal.ask("terminal_info")
        return judgement.terminal(self.seen.version, self.seen.terminal)

    async def _account(self) -> Finding:
        """As a worker does it: log in only where another account is shown."""
        shown = await self._terminal.ask("account_info")
        refusal = ""
        if (shown["login"], shown["server"]) != (self._way.login, self._way.server):
            secret = {} if self._way.password is None else {"password": self._way.password}
            reply = await self._terminal.call(
                "login", self._way.login, server=self._way.server, timeout=ATTACH_TIMEOUT_MS, **secret
            )
            refusal = "" if reply.value else f"{reply.message} ({reply.code})"
            shown = await self._terminal.ask("account_info")
        self.seen.account = shown
        return judgement.account(shown, login=self._way.login, server=self._way.server, refusal=refusal)

    async def _link(self) -> Finding:
        self.seen.terminal = await self._terminal.ask("terminal_info")
        return judgement.link(self.seen.terminal)

    async def _algo_trading(self) -> Finding:
        self.seen.account = await self._terminal.ask("account_info")
        self.seen.terminal = await self._terminal.ask("terminal_info")
        return judgement.algo_trading(self.seen.account, self.seen.terminal)

    async def _symbol(self, name: str) -> Finding:
        selected = await self._terminal.call("symbol_select", name, True)
        shown = await self._terminal.call("symbol_info", name)
        if shown.value is None:
            if shown.code != NOT_FOUND:
                raise Unanswered("symbol_info", shown.code, shown.message)
            group = await self._terminal.ask("symbols_get", group=f"*{name[:6]}*")
            similar = [symbol["name"] for symbol in group][:SIMILAR_MAX]
            return judgement.symbol(name, None, similar=similar)
        if not selected.value:
            raise Unanswered("symbol_select", selected.code, selected.message)
        self.seen.symbol = shown.value
        return judgement.symbol(name, shown.value, similar=())

    async def _tick(self) -> Finding:
        if self.seen.symbol is None:
            return skipped("no symbol")
        name = self.seen.symbol["name"]
        started = self._pace.monotonic()
        first = moved = await self._terminal.ask("symbol_info_tick", name)
        while moved["time_msc"] == first["time_msc"] or not (moved["bid"] and moved["ask"]):
            waited = self._pace.monotonic() - started
            if waited >= self._tick_patience.total_seconds():
                return judgement.tick(first, None, waited_seconds=waited)
            await self._pace.pause()
            moved = await self._terminal.ask("symbol_info_tick", name)
        self.seen.tick = moved
        self.seen.clock_offset = judgement.clock_offset(moved, self._pace.now())
        return judgement.tick(first, moved, waited_seconds=self._pace.monotonic() - started)

    async def _clock(self) -> Finding:
        if self.seen.tick is None:
            return skipped("only a fresh tick tells the server's clock")
        return judgement.clock(self.seen.tick, configured=self._way.clock, now=self._pace.now())

    async def _filling(self) -> Finding:
        return skipped("no symbol") if self.seen.symbol is None else judgement.fillings(self.seen.symbol)

    async def _order_check(self) -> Finding:
        if self.seen.symbol is None or self.seen.tick is None:
            return skipped("no fresh price to check an order at")
        symbol, result = self.seen.symbol, None
        for mode in filling.candidates(symbol, pending=False, wanted=None):
            request = orders.market(symbol, self.seen.tick, magic=0, mode=mode, stop_loss=None)
            result = await self._terminal.ask("order_check", request)
            if result["retcode"] != INVALID_FILL:
                self.seen.filling = mode
                return judgement.order_check(result, volume=symbol["volume_min"], mode=mode)
        assert result is not None, "there is always a mode to try"
        return judgement.refusal(result)

    async def _lists(self) -> Finding:
        since, until = self._way.clock.window(self._pace.now() - WINDOW, self._pace.now())
        before = await self._terminal.ask("history_deals_total", BEGINNING, until)
        positions = await self._terminal.ask("positions_get")
        sizes = {
            "orders": len(await self._terminal.ask("orders_get")),
            "positions": len(positions),
            "orders in history": len(await self._terminal.ask("history_orders_get", since, until)),
            "deals": len(await self._terminal.ask("history_deals_get", since, until)),
        }
        unknown = [
            position["identifier"]
            for position in positions
            if not await self._terminal.ask("history_deals_get", position=position["identifier"])
        ]
        after = await self._terminal.ask("history_deals_total", BEGINNING, until)
        return judgement.lists(sizes, before=before, after=after, unknown=unknown)
