"""The steps of a trade that need our books alone; each may be repeated without a second effect."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity

from activities.reserving import PIPELINE, Reserved, ReserveTrade, Reserving, deny
from db import attempts, commands, reservations, trade_locks, trades
from db.trades import lose
from domain.attempts import AttemptOutcome
from domain.commands import Command, CommandEnd, CommandResult
from domain.errors import NotUnresolved, OrderTaken
from domain.gates import Denial, Gate
from domain.orders import OrderEvent, OrderIntent, OrderState
from domain.reservations import ReservationState
from domain.risk import Denied
from domain.trades import TradeProgress


@dataclass(frozen=True, kw_only=True)
class AcceptTrade:
    intent: OrderIntent
    workflow_id: str


@dataclass(frozen=True, kw_only=True)
class TradeStep:
    trade_id: UUID


@dataclass(frozen=True, kw_only=True)
class LostSubmit:
    """A submit without an answer; `started` unless it is certain that no sender ever had it."""

    trade_id: UUID
    started: bool = True


@dataclass(frozen=True, kw_only=True)
class DecideTrade:
    """What a person found at the broker: the order under its number there, or None for no order at all."""

    command: Command
    broker_order_id: int | None
    reason: str


class TradeActivities:
    def __init__(self, engine: AsyncEngine, *, reserving: Reserving, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._reserving = reserving
        self._now = now

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.accept, self.reserve, self.settle, self.read_progress, self.give_up_sending, self.decide]

    @activity.defn(name="accept")
    async def accept(self, step: AcceptTrade) -> TradeProgress:
        """Store the intent. The answer may be another trade's, if the client order id was used before."""
        async with self._engine.begin() as connection:
            trade = await trades.accept(connection, step.intent, workflow_id=step.workflow_id)
        return trade.progress

    @activity.defn(name="reserve")
    async def reserve(self, step: ReserveTrade) -> Reserved:
        """Run the gates under the locks; hold what passes, deny what does not."""
        return await self._reserving.reserve(step)

    @activity.defn(name="settle")
    async def settle(self, step: TradeStep) -> TradeProgress:
        """Resolve the reservation to what was filled and close the trade."""
        async with self._engine.begin() as connection:
            trade = await trades.lock(connection, step.trade_id)
            if trade.progress.closed_at is not None or not trade.progress.final:
                return trade.progress
            filled = trade.progress.filled_volume
            into = ReservationState.SETTLED if filled > 0 else ReservationState.RELEASED
            await reservations.resolve_reservation(connection, trade.id, into, filled=filled)
            trade = await trades.close(connection, trade, actor=PIPELINE)
        return trade.progress

    @activity.defn(name="read_progress")
    async def read_progress(self, step: TradeStep) -> TradeProgress:
        async with self._engine.connect() as connection:
            return (await trades.read(connection, step.trade_id)).progress

    @activity.defn(name="decide")
    async def decide(self, step: DecideTrade) -> TradeProgress:
        """Let a person's word end an unresolved trade; what the broker shows later still comes into the books."""
        async with self._engine.begin() as connection:
            known = await commands.begin(connection, step.command)
            trade = await trades.lock(connection, step.command.trade_id)
            if known is not None:
                return trade.progress
            if trade.state is not OrderState.UNRESOLVED:
                raise NotUnresolved(trade.state)
            number = step.broker_order_id
            taken = number is not None
            if number is not None and await trade_locks.find_by_order(connection, trade.intent.account_id, number):
                raise OrderTaken(number)
            changes = {"broker_order_id": step.broker_order_id} if taken else {"reason": "decided_absent"}
            trade = await trades.advance(
                connection,
                trade,
                OrderEvent.PLACED if taken else OrderEvent.REJECTED,
                actor=f"user:{step.command.requested_by}",
                changes={**changes, "submitted_at": func.now()} if taken else changes,
                detail={"decided": "taken" if taken else "absent", "reason": step.reason, **changes},
            )
            await commands.finish(
                connection, step.command, CommandResult(outcome=CommandEnd.DONE, reason=step.reason)
            )
        return trade.progress

    @activity.defn(name="give_up_sending")
    async def give_up_sending(self, step: LostSubmit) -> TradeProgress:
        """Judge a submit that failed without an answer: a claimed one is unresolved, an expired one denied.

        One that was never claimed and still has time stays pending: the claim makes another try safe. So does one
        that a sender had: books that were put back may have forgotten its claim, so it is not known to be unsent.
        """
        async with self._engine.begin() as connection:
            trade = await trades.lock(connection, step.trade_id)
            if trade.state is not OrderState.PENDING:
                return trade.progress
            newest = await attempts.newest(connection, trade.id)
            if newest is not None and newest.outcome is not AttemptOutcome.REJECTED:
                trade = await lose(connection, trade, "sender_lost", actor=PIPELINE)
            elif self._now() >= trade.intent.submit_by and not step.started:
                trade = await deny(connection, trade, Denied(denials=(_UNAVAILABLE,)))
        return trade.progress


_UNAVAILABLE = Denial(
    gate=Gate.DEADLINE,
    code="broker_unavailable",
    message="no sender took the order before its submit deadline; nothing was sent",
)
