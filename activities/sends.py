"""The steps of a trade at the broker, by the one sender that holds the account's lease.

1. A send happens only behind a claim that this very call made.
2. What the broker answered is recorded for as long as it takes; it is never sent again instead.
3. What is unknown stays unknown until the broker's own lists prove it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio import activity

from activities import outcomes
from activities.heartbeats import heartbeating
from activities.orders import order_request
from activities.outcomes import UNDECIDED
from activities.sender import Sender
from activities.units import until_committed
from brokers.protocol import Lookup
from db import accounts, attempts, controls, locks, reservations, trades
from db.attempts import Attempt
from db.fill_queries import count_tickets
from db.jsons import plain
from db.stops import read_stop
from db.trades import Trade
from domain.attempts import AttemptOutcome
from domain.errors import LeaseLost
from domain.fills import FillSource
from domain.orders import (
    Accepted,
    NotSent,
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


@dataclass(frozen=True, kw_only=True)
class SubmitTrade:
    """`recovering` sends nothing: the books were put back, and what they forgot may have been sent long ago."""

    trade_id: UUID
    recovering: bool = False


@dataclass(frozen=True, kw_only=True)
class SearchTrade:
    trade_id: UUID


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
        """Search everything under the claim's magic number once, and book what that proves.

        Raises LeaseLost once another sender serves the account: only the fenced one may prove an absence.
        """
        async with heartbeating():
            async with self._engine.begin() as connection:
                trade = await trades.lock(connection, step.trade_id)
                attempt = await attempts.newest(connection, trade.id)
                await accounts.check_lease(connection, self._sender.lease)
            if attempt is None or trade.state not in UNDECIDED:
                return trade.progress
            ended_at = await self._sender_ended(attempt)
            # A claim that recovery made is younger than the send that it stands for.
            since = min(attempt.claimed_at, trade.intent.received_at)
            lookup = await self._sender.broker.find(attempt.magic, since=since)
            return await until_committed(
                self._engine, lambda connection: self._conclude(connection, attempt, lookup, ended_at=ended_at)
            )

    async def _claim(self, step: SubmitTrade) -> tuple[Attempt, OrderRequest] | TradeProgress:
        async with self._engine.begin() as connection:
            trade = await trades.lock(connection, step.trade_id)
            if trade.state is not OrderState.PENDING:
                return trade.progress
            before = await attempts.newest(connection, trade.id)
            dead = before is None or before.outcome is AttemptOutcome.REJECTED
            if step.recovering and dead:
                return await self._take_up(connection, trade, number=1 if before is None else before.number + 1)
            refusal = await self._refusal(connection, trade)
            if refusal is not None and dead:
                return (await outcomes.not_sent(connection, self._sender, trade, refusal)).progress
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
            if control.blocks(reducing=intent.reducing, stopping=intent.stopping):
                return NotSent(reason=f"trading_{control.state}", detail={"reason": control.reason})
        if intent.stop_id is not None and (await read_stop(connection, intent.stop_id)).resumed_at is not None:
            return NotSent(reason="stop_over", detail={"reason": "trading was opened again meanwhile"})
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
            if isinstance(outcome, Accepted) and known.outcome is not AttemptOutcome.ACCEPTED:
                trade = await outcomes.accepted_late(connection, self._sender, trade, attempt, outcome)
            return trade.progress
        await attempts.record_outcome(connection, attempt, outcome)
        match outcome:
            case Accepted():
                trade = await outcomes.accepted(connection, self._sender, trade, outcome, source=FillSource.SUBMIT)
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
                trade = await outcomes.rejected(connection, self._sender, trade, reason, outcome.exchange)
            case NotSent():
                trade = await outcomes.not_sent(connection, self._sender, trade, outcome)
            case Unresolved(reason=reason):
                trade = await trades.lose(connection, trade, reason, actor=self._sender.actor)
        return trade.progress

    async def _conclude(
        self, connection: AsyncConnection, attempt: Attempt, lookup: Lookup, *, ended_at: datetime
    ) -> TradeProgress:
        await locks.take(connection, locks.Queue.BOOKING, self._sender.account.id)
        trade = await trades.lock(connection, attempt.trade_id)
        await accounts.check_lease(connection, self._sender.lease)
        if trade.state not in UNDECIDED:
            return trade.progress
        booked = await count_tickets(connection, self._sender.account.id)
        conclusion = conclude(
            orders=lookup.orders,
            history_orders=lookup.history_orders,
            fills=lookup.fills,
            position_count=len(lookup.positions),
            # A history that shows less than the books have from it has not arrived yet.
            in_sync=lookup.in_sync and lookup.deal_count >= booked,
            # The clocks of two machines may differ: nothing ended before it was claimed.
            sender_ended_at=max(ended_at, attempt.claimed_at),
            read_at=lookup.read_at,
            quiet=self._sender.absence_quiet,
        )
        match conclusion:
            case Found(order=order, fills=fills):
                accepted = Accepted(
                    broker_order_id=conclusion.broker_order_id, order=order, fills=fills, quote=None, retcode=None
                )
                await attempts.record_outcome(connection, attempt, accepted)
                trade = await outcomes.accepted(
                    connection, self._sender, trade, accepted, source=FillSource.RESOLVE
                )
            case Absent():
                await attempts.record_outcome(connection, attempt, Rejected(reason="absent", retcode=None))
                trade = await outcomes.rejected(connection, self._sender, trade, "absent")
            case Inconclusive():
                trade = await self._still_unknown(connection, trade, lookup, conclusion)
        return trade.progress

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
            await accounts.check_lease(connection, lease)
            await attempts.record_sender_ended(connection, attempt, at=ended_at)
        return ended_at
