"""MetaTrader 5 as a Broker, over any of the three terminals.

1. A read that fails raises `BrokerUnavailable`, one that shows another account `BrokerMismatch`, and one whose
   times the broker's clock misdates `ClockMismatch`.
2. `submit` never raises for an outcome. What it cannot prove it returns as `Unresolved`, its sender dead by then.
3. An order that the child had not announced before it ended was never sent.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from brokers.mt5 import mapping, outcomes, requests
from brokers.mt5.clock import ServerClock
from brokers.mt5.fill_windows import FillCache, Windows
from brokers.mt5.mapping import Struct
from brokers.mt5.outcomes import Unclear
from brokers.mt5.process import Answer, Link, TerminalProcess, Verdict
from brokers.mt5.sender import CallFailed, SenderLost
from brokers.mt5.sending import Submission
from brokers.mt5.session import Pin
from brokers.mt5.terminals import TerminalKind
from brokers.mt5.turns import Lane
from brokers.mt5.zone_watch import ZoneWatch, spoken
from brokers.protocol import (
    AccountReading,
    Broker,
    CommandOutcome,
    CommandRefused,
    CommandUnknown,
    Lookup,
    MarketReading,
)
from domain.errors import BrokerMismatch, BrokerUnavailable, ClockMismatch
from domain.exchanges import Exchange
from domain.fills import Fill
from domain.instruments import Instrument
from domain.orders import Accepted, Changes, NotSent, OrderRequest, Quote, Rejected, SubmitOutcome, Unresolved
from domain.watch import FindingKind

# The package gives a terminal that it starts itself 60 seconds, and its account the time set for attaching.
ATTACH_DEADLINE = timedelta(seconds=90)
# A terminal's answer that does not fit its own documentation.
UNREADABLE = (KeyError, IndexError, TypeError, ValueError, ArithmeticError)


Outcome = Accepted | Rejected | NotSent | Unclear


def utc_now() -> datetime:
    return datetime.now(UTC)


class TerminalWay(Protocol):
    """The way to the terminal, as `TerminalProcess` offers it."""

    @property
    def pid(self) -> int | None: ...

    async def call(
        self, operation: str, arguments: dict[str, Any], *, lane: Lane, end_when: Verdict | None = None
    ) -> Answer: ...

    async def retire(self) -> datetime: ...

    async def close(self) -> None: ...


def open_broker(  # noqa: PLR0913  # each is a fact of the link, and all go by name
    *,
    terminal: TerminalKind,
    path: str | None,
    login: int,
    password: str | None,
    server: str,
    server_zone: ZoneInfo,
    call_deadline: timedelta,
    lock_file: Path,
    lease_number: int,
) -> "Mt5Broker":
    """The broker behind a terminal of this machine or a bridge, by a child process that can be killed."""
    link = Link(
        kind=terminal,
        path=path,
        pin=Pin(login=login, server=server),
        password=password,
        lock_file=lock_file.absolute(),
        lease_number=lease_number,
        call_deadline=call_deadline,
        connect_deadline=call_deadline if terminal == "simulated" else max(call_deadline, ATTACH_DEADLINE),
    )
    return Mt5Broker(TerminalProcess(link), server_zone=server_zone, now=utc_now)


class Mt5Broker(Broker):
    def __init__(self, way: TerminalWay, *, server_zone: ZoneInfo, now: Callable[[], datetime]) -> None:
        self._process = way
        self._clock = ServerClock(server_zone)
        self._now = now
        self._fills = FillCache(self._clock)
        self._zone_watch = ZoneWatch()
        self._deals_known = 0

    @property
    def sender_pid(self) -> int | None:
        """The child that talks to the terminal now, None while there is none."""
        return self._process.pid

    async def connect(self) -> AccountReading:
        return await self.read_account()

    async def close(self) -> None:
        await self._process.close()

    async def retire_sender(self) -> datetime:
        return await self._process.retire()

    async def read_account(self) -> AccountReading:
        with readable():
            answer = await self._read("account", {})
            return mapping.account_reading(answer["account"], answer["terminal"], read_at=self._now())

    async def read_instruments(self) -> tuple[Instrument, ...]:
        with readable():
            answer = await self._read("instruments", {})
            read_at = self._now()
            if not answer["symbols"]:
                # A terminal that starts or changes accounts has not loaded them; no broker offers nothing at all.
                raise BrokerUnavailable("the terminal lists no symbols")
            return tuple(mapping.instrument(symbol, read_at=read_at) for symbol in answer["symbols"])

    async def read_market(self, symbols: tuple[str, ...], *, deals_since: datetime) -> MarketReading:
        since, until = self._clock.window(deals_since, self._now())
        with readable():
            answer = await self._read("market", {"symbols": list(symbols), "since": since, "until": until})
            read_at = self._now()
            return MarketReading(
                account=mapping.account_reading(answer["account"], answer["terminal"], read_at=read_at),
                quotes=self._quotes(answer["ticks"], read_at=read_at),
                positions=mapping.broker_positions(answer["positions"], clock=self._clock),
                orders=mapping.broker_orders(answer["orders"], clock=self._clock),
                deal_count=answer["deal_count"],
            )

    async def read_fills(self, since: datetime) -> tuple[Fill, ...]:
        self._check_clock()
        windows = Windows(*self._clock.window(since, self._now()))
        with readable():
            while (window := windows.next()) is not None:
                windows.put(await self._read("deals", window))
            return self._fills.fills(windows.deals)

    async def read_position_fills(self, position_id: int) -> tuple[Fill, ...]:
        self._check_clock()
        with readable():
            answer = await self._read("position_deals", {"position_id": position_id})
            return tuple(mapping.fill(deal, clock=self._clock) for deal in answer["deals"])

    async def find(self, magic: int, *, since: datetime) -> Lookup:
        self._check_clock()
        read_at = self._now()
        start, until = self._clock.search_window(since, read_at)
        with readable():
            answer = await self._read("find", {"magic": magic, "since": start, "until": until})
            before, after = answer["deal_counts"]
            # An account's history begins with a deposit and only grows: less than that has not arrived yet.
            in_sync = answer["connected"] and before == after and after >= max(self._deals_known, 1)
            self._deals_known = max(self._deals_known, after)
            return Lookup(
                magic=magic,
                orders=mapping.sent_orders(answer["orders"], clock=self._clock),
                positions=mapping.broker_positions(answer["positions"], clock=self._clock),
                history_orders=mapping.sent_orders(answer["history_orders"], clock=self._clock),
                fills=tuple(mapping.fill(deal, clock=self._clock) for deal in answer["deals"]),
                in_sync=in_sync,
                deal_count=after,
                since=since,
                read_at=read_at,
            )

    async def submit(self, order: OrderRequest) -> SubmitOutcome:
        lane = Lane.SEND if order.position_id is None else Lane.STOP
        submission = asdict(self._submission(order))
        try:
            self._check_clock()
            answer = await self._process.call(
                "submit", submission, lane=lane, end_when=lambda content: self._unclear(content, order)
            )
        except SenderLost as lost:
            if lost.announced:
                sent = Exchange(request=submission["request"], answer=None)
                return Unresolved(reason=str(lost), retcode=None, sender_ended_at=lost.ended_at, exchange=sent)
            return NotSent(reason="broker_unavailable", detail={"cause": str(lost)})
        except (CallFailed, BrokerUnavailable, ClockMismatch) as failed:
            return NotSent(reason=_reason(failed), detail={"cause": str(failed)})
        outcome = self._outcome(answer.content, order)
        exchange = outcomes.exchange(answer.content)
        if isinstance(outcome, Unclear):
            return Unresolved(
                reason=outcome.reason,
                retcode=outcome.retcode,
                sender_ended_at=answer.ended_at,
                exchange=exchange,
            )
        return replace(outcome, exchange=exchange)

    async def cancel(self, broker_order_id: int) -> CommandOutcome:
        answer = await self._command("cancel", {"ticket": broker_order_id})
        return outcomes.cancel_outcome(answer.content) if isinstance(answer, Answer) else answer

    async def modify_order(self, broker_order_id: int, changes: Changes) -> CommandOutcome:
        changed = requests.level_changes(changes) | requests.expiry_change(changes.expires_at, clock=self._clock)
        answer = await self._command("modify_order", {"ticket": broker_order_id, "changes": changed})
        return outcomes.command_outcome(answer.content) if isinstance(answer, Answer) else answer

    async def modify_position(self, position_id: int, changes: Changes) -> CommandOutcome:
        arguments = {"position_id": position_id, "changes": requests.level_changes(changes)}
        answer = await self._command("modify_position", arguments)
        return outcomes.command_outcome(answer.content) if isinstance(answer, Answer) else answer

    def _quotes(self, ticks: Struct, *, read_at: datetime) -> tuple[Quote, ...]:
        read = (mapping.quote(name, tick, clock=self._clock, read_at=read_at) for name, tick in ticks.items())
        quotes = tuple(quote for quote in read if quote is not None)
        self._zone_watch.offset(quotes)
        self._check_clock()
        return quotes

    def _check_clock(self) -> None:
        off = self._zone_watch.off
        if off is not None:
            raise ClockMismatch(f"it is {spoken(off)} of {self._clock.zone}")

    def _submission(self, order: OrderRequest) -> Submission:
        since, until = self._clock.search_window(order.since, self._now())
        return Submission(
            request=requests.order_request(order, clock=self._clock),
            side=order.side.value,
            filling=requests.filling_wanted(order.time_in_force),
            reference_price=str(order.reference_price),
            collar_points=order.collar_points,
            position_id=order.position_id,
            close_by_position_id=order.close_by_position_id,
            since=since,
            until=until,
            submit_by=order.submit_by.timestamp(),
            contract=requests.contract_terms(order),
        )

    def _outcome(self, content: Struct, order: OrderRequest) -> Outcome:
        try:
            return outcomes.submit_outcome(content, symbol=order.symbol, clock=self._clock)
        except UNREADABLE as error:
            return Unclear(reason=f"unreadable answer: {type(error).__name__}: {error}", retcode=None)

    def _unclear(self, content: Struct, order: OrderRequest) -> bool:
        return isinstance(self._outcome(content, order), Unclear)

    async def _read(self, operation: str, arguments: dict[str, Any]) -> Struct:
        answer = await self._process.call(operation, arguments, lane=Lane.READ)
        return answer.content

    async def _command(self, operation: str, arguments: dict[str, Any]) -> Answer | CommandOutcome:
        """The answer, or, where there is none, what follows for something that may be repeated."""
        try:
            return await self._process.call(operation, arguments, lane=Lane.STOP)
        except (CallFailed, SenderLost, BrokerUnavailable) as failure:
            if isinstance(failure, CallFailed) and failure.fault == "mismatch":
                return CommandRefused(reason=f"account_mismatch: {failure}", retcode=None)
            return CommandUnknown(reason=str(failure), retcode=None)


def _reason(failed: CallFailed | BrokerUnavailable | ClockMismatch) -> str:
    """Why nothing was sent, in the words of the gates."""
    if isinstance(failed, ClockMismatch):
        return FindingKind.CLOCK_MISMATCH
    mismatch = isinstance(failed, CallFailed) and failed.fault == "mismatch"
    return FindingKind.ACCOUNT_MISMATCH if mismatch else "broker_unavailable"


@contextmanager
def readable() -> Iterator[None]:
    """Name the two ways in which a read can fail; an answer that cannot be read is none."""
    try:
        yield
    except CallFailed as failed:
        if failed.fault == "mismatch":
            raise BrokerMismatch(str(failed)) from failed
        raise BrokerUnavailable(str(failed)) from failed
    except SenderLost as lost:
        raise BrokerUnavailable(str(lost)) from lost
    except UNREADABLE as error:
        raise BrokerUnavailable(f"unreadable answer: {type(error).__name__}: {error}") from error
