"""The steps of a trade at the broker, by the one sender that holds the account's lease.

1. A send happens only behind a claim that this very call made.
2. What the broker answered is recorded for as long as it takes; it is never sent again instead.
3. What is unknown stays unknown until the broker's own lists prove it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio import activity

from activities.heartbeats import heartbeating
from activities.orders import order_request, told
from activities.units import until_committed
from brokers.protocol import Broker, Lookup
from db import accounts, attempts, booking, controls, locks, reservations, trades
from db.accounts import Account, Lease
from db.attempts import Attempt
from db.jsons import plain
from db.trades import Trade
from domain.errors import LeaseLost
from domain.fills import Fill
from domain.orders import (
    Accepted,
    BrokerOrder,
    NotSent,
    OrderEvent,
    OrderRequest,
    OrderState,
    Rejected,
    SubmitOutcome,
    Unresolved,
)
from domain.resolution import Absent, Found, Inconclusive, conclude
from domain.trades import TradeProgress

# A broker that requotes three times in a row has told us its price.
ATTEMPTS_MAX = 3

UNDECIDED = frozenset({OrderState.PENDING, OrderState.UNRESOLVED})


@dataclass(frozen=True, kw_only=True)
class SubmitTrade:
    """`recovering` sends nothing: the books were put back, and what they forgot may have been sent long ago."""

    trade_id: UUID
    recovering: bool = False


@dataclass(frozen=True, kw_only=True)
class SearchTrade:
    trade_id: UUID


@dataclass(frozen=True, kw_only=True)
class Sender:
    """The one sender of an account: its lease, its way to the broker, and the feed that it wakes."""

    account: Account
    lease: Lease
    broker: Broker
    wake_feed: asyncio.Event
    absence_quiet: timedelta
    slippage_percent_max: Decimal
    ready_at: datetime

    @property
    def actor(self) -> str:
        return f"sender:{self.account.slug}#{self.lease.number}"


class SenderActivities:
    def __init__(self, engine: AsyncEngine, sender: Sender, *, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._sender = sender
        self._now = now

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.submit, self.search]

    @activity.defn(name="submit")
    async def submit(self, step: SubmitTrade) -> TradeProgress:
        """Claim the attempt and send it once; the trade as the answer leaves it."""
        async with heartbeating():
            claimed = await self._claim(step)
            if isinstance(claimed, TradeProgress):
                return claimed
            attempt, request = claimed
            outcome = await self._sender.broker.submit(request)
            progress = await until_committed(
                self._engine, lambda connection: self._record(connection, attempt, outcome)
            )
            if not progress.final:
                # What follows at the broker, a fill above all, is worth a look before the next round.
                self._sender.wake_feed.set()
            return progress

    @activity.defn(name="search")
    async def search(self, step: SearchTrade) -> TradeProgress:
        """Search everything under the claim's magic number once, and book what that proves."""
        async with heartbeating():
            async with self._engine.begin() as connection:
                trade = await trades.lock(connection, step.trade_id)
                attempt = await attempts.newest(connection, trade.id)
            if attempt is None or trade.state not in UNDECIDED:
                return trade.progress
            ended_at = await self._sender_ended(attempt)
            lookup = await self._sender.broker.find(attempt.magic, since=attempt.claimed_at)
            return await until_committed(
                self._engine, lambda connection: self._conclude(connection, attempt, lookup, ended_at=ended_at)
            )

    async def _claim(self, step: SubmitTrade) -> tuple[Attempt, OrderRequest] | TradeProgress:
        async with self._engine.begin() as connection:
            trade = await trades.lock(connection, step.trade_id)
            if trade.state is not OrderState.PENDING:
                return trade.progress
            before = await attempts.newest(connection, trade.id)
            dead = before is None or before.outcome == "rejected"
            if step.recovering and dead:
                return await self._take_up(connection, trade, number=1 if before is None else before.number + 1)
            refusal = await self._refusal(connection, trade)
            if refusal is not None and dead:
                return (await self._not_sent(connection, trade, refusal)).progress
            number = 1 if before is None else before.number + 1
            lease_number = self._sender.lease.number
            attempt = (
                await attempts.claim(connection, trade, number=number, lease_number=lease_number) if dead else None
            )
            if attempt is None:
                # Somebody claimed it before us and left no answer: a worker that died, or a workflow reset.
                return (await trades.lose(connection, trade, "claimed_before", actor=self._sender.actor)).progress
            terms = await reservations.terms(connection, trade.id)
        return attempt, order_request(trade, attempt, terms)

    async def _take_up(self, connection: AsyncConnection, trade: Trade, *, number: int) -> TradeProgress:
        """Claim what may be out already, so that nobody sends it, and leave the rest to the search."""
        await accounts.check_lease(connection, self._sender.lease)
        await attempts.claim(connection, trade, number=number, lease_number=self._sender.lease.number)
        return (await trades.lose(connection, trade, "books_restored", actor=self._sender.actor)).progress

    async def _refusal(self, connection: AsyncConnection, trade: Trade) -> NotSent | None:
        """Why the order may not leave now: the stop, a lost lease, or its deadline."""
        intent = trade.intent
        for control in await controls.read_controls(
            connection, account_slug=self._sender.account.slug, user_id=intent.user_id, symbol=intent.symbol
        ):
            if control.blocks(reducing=intent.reducing):
                return NotSent(reason=f"trading_{control.state}", detail={"reason": control.reason})
        try:
            await accounts.check_lease(connection, self._sender.lease)
        except LeaseLost as lost:
            return NotSent(reason=lost.code, detail={"reason": str(lost)})
        now = self._now()
        if now >= intent.submit_by:
            return NotSent(
                reason="submit_deadline_passed",
                detail={"submit_by": intent.submit_by.isoformat(), "now": now.isoformat()},
            )
        return None

    async def _record(
        self, connection: AsyncConnection, attempt: Attempt, outcome: SubmitOutcome
    ) -> TradeProgress:
        """Book an answer. The feed may have booked its fills before us; then only the rest is new."""
        await locks.take(connection, locks.Queue.BOOKING, self._sender.account.id)
        trade = await trades.lock(connection, attempt.trade_id)
        known = await attempts.newest(connection, trade.id)
        if known is not None and known.outcome is not None:
            return trade.progress
        await attempts.record_outcome(connection, attempt, outcome)
        match outcome:
            case Accepted(order=order, fills=fills):
                trade = await self._sent(connection, trade, outcome)
                trade = await self._book(connection, trade, order=order, fills=fills, source="submit")
            case Rejected(repeatable=True) if attempt.number < ATTEMPTS_MAX and trade.state is OrderState.PENDING:
                # This attempt is proven dead, so another claim may follow it; until then the trade stays pending.
                await trades.journal(
                    connection,
                    trade,
                    "trade.requoted",
                    actor=self._sender.actor,
                    detail={"attempt": attempt.number, "reason": outcome.reason},
                )
            case Rejected(reason=reason):
                trade = await self._rejected(connection, trade, reason)
            case NotSent():
                trade = await self._not_sent(connection, trade, outcome)
            case Unresolved(reason=reason):
                trade = await trades.lose(connection, trade, reason, actor=self._sender.actor)
        return trade.progress

    async def _conclude(
        self, connection: AsyncConnection, attempt: Attempt, lookup: Lookup, *, ended_at: datetime
    ) -> TradeProgress:
        await locks.take(connection, locks.Queue.BOOKING, self._sender.account.id)
        trade = await trades.lock(connection, attempt.trade_id)
        if trade.state not in UNDECIDED:
            return trade.progress
        conclusion = conclude(
            orders=lookup.orders,
            history_orders=lookup.history_orders,
            fills=lookup.fills,
            position_count=len(lookup.positions),
            in_sync=lookup.in_sync,
            sender_ended_at=ended_at,
            read_at=lookup.read_at,
            quiet=self._sender.absence_quiet,
        )
        match conclusion:
            case Found(order=order, fills=fills):
                accepted = Accepted(
                    broker_order_id=conclusion.broker_order_id, order=order, fills=fills, quote=None, retcode=None
                )
                await attempts.record_outcome(connection, attempt, accepted)
                trade = await self._sent(connection, trade, accepted)
                trade = await self._book(connection, trade, order=order, fills=fills, source="resolve")
            case Absent():
                await attempts.record_outcome(connection, attempt, Rejected(reason="absent", retcode=None))
                trade = await self._rejected(connection, trade, "absent")
            case Inconclusive():
                trade = await self._still_unknown(connection, trade, lookup, conclusion)
        return trade.progress

    async def _sent(self, connection: AsyncConnection, trade: Trade, accepted: Accepted) -> Trade:
        """Note that the broker owns the order, and the price that was on offer when it was sent."""
        changes: dict[str, object] = {"submitted_at": func.now(), "broker_order_id": accepted.broker_order_id}
        if accepted.quote is not None and trade.intent.meets_market:
            changes["expected_price"] = accepted.quote.to_open(trade.intent.side)
        return await trades.note(
            connection,
            trade,
            "trade.submitted",
            actor=self._sender.actor,
            changes=changes,
            detail={"broker_order_id": accepted.broker_order_id, "quote": accepted.quote},
        )

    async def _book(
        self,
        connection: AsyncConnection,
        trade: Trade,
        *,
        order: BrokerOrder | None,
        fills: tuple[Fill, ...],
        source: str,
    ) -> Trade:
        actor = self._sender.actor
        await booking.book_fills(
            connection,
            self._sender.account,
            fills,
            source=source,
            actor=actor,
            slippage_percent_max=self._sender.slippage_percent_max,
        )
        trade = await trades.lock(connection, trade.id)
        if trade.state in UNDECIDED and order is None:
            # Accepted, and neither order nor fill shows yet: the feed will see what becomes of it.
            return await trades.advance(connection, trade, OrderEvent.PLACED, actor=actor)
        return trade if order is None else await booking.apply_order(connection, trade, order, actor=actor)

    async def _rejected(self, connection: AsyncConnection, trade: Trade, reason: str) -> Trade:
        if trade.state not in UNDECIDED:
            # A fill was booked while the answer said no: the fill is the stronger evidence.
            return trade
        return await trades.advance(
            connection,
            trade,
            OrderEvent.REJECTED,
            actor=self._sender.actor,
            changes={"reason": reason},
            detail={"reason": reason},
        )

    async def _not_sent(self, connection: AsyncConnection, trade: Trade, refusal: NotSent) -> Trade:
        if trade.state not in UNDECIDED:
            return trade
        if trade.state is OrderState.UNRESOLVED:
            # Another run gave the send up as lost; now it is proven that nothing left.
            return await self._rejected(connection, trade, refusal.reason)
        denial = {"gate": "submit", "code": refusal.reason, "message": told(refusal), "detail": refusal.detail}
        return await trades.advance(
            connection,
            trade,
            OrderEvent.DENIED,
            actor=self._sender.actor,
            changes={"reason": refusal.reason, "denials": [denial]},
            detail={"denials": [denial]},
        )

    async def _still_unknown(
        self, connection: AsyncConnection, trade: Trade, lookup: Lookup, conclusion: Inconclusive
    ) -> Trade:
        if trade.state is OrderState.PENDING:
            trade = await trades.lose(connection, trade, "no_answer", actor=self._sender.actor)
        evidence = plain(
            {
                "searched_at": lookup.read_at,
                "searched_since": lookup.since,
                "searched": "open orders, positions, order history, deal history",
                "found": conclusion.found,
                "missing": "; ".join(conclusion.missing),
            }
        )
        return await trades.note(
            connection,
            trade,
            "trade.searched",
            actor=self._sender.actor,
            changes={"evidence": evidence, "needs_attention": True},
            detail=evidence,
        )

    async def _sender_ended(self, attempt: Attempt) -> datetime:
        """When the process that held the claim was proven dead; it is ended now if nobody has yet."""
        lease = self._sender.lease
        if attempt.sender_ended_at is not None:
            return attempt.sender_ended_at
        # An older claim's process was dead before our own could take the terminal's lock.
        ended_at = self._sender.ready_at
        if attempt.lease_number == lease.number:
            ended_at = await self._sender.broker.retire_sender()
        async with self._engine.begin() as connection:
            await attempts.record_sender_ended(connection, attempt, at=ended_at)
        return ended_at
