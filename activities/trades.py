"""The steps of a trade that need our books alone; each may be repeated without a second effect."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio import activity

from db import attempts, commands, reservations, trade_locks, trades
from db.journal import raise_alert
from db.jsons import plain
from db.risk_context import read_risk_context
from db.trades import Trade, lose
from domain.attempts import AttemptOutcome
from domain.commands import Command, CommandEnd, CommandResult
from domain.errors import NotUnresolved, OrderTaken
from domain.gates import Denial, Gate
from domain.orders import OrderEvent, OrderIntent, OrderState
from domain.reservations import ReservationState
from domain.risk import Denied, evaluate, recovered_claim
from domain.sizing import Approved
from domain.trades import TradeProgress

PIPELINE = "pipeline"


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
class ReserveTrade:
    """`last` decides on the data that is there, however old; before that, old data only asks for newer.

    `recovering` holds the risk of an order that may long be at the broker, whatever the gates say now. Where a
    fact is missing without which its claim cannot be said, that is `stale`, `last` or not.
    """

    trade_id: UUID
    last: bool
    recovering: bool = False


@dataclass(frozen=True, kw_only=True)
class DecideTrade:
    """What a person found at the broker: the order under its number there, or None for no order at all."""

    command: Command
    broker_order_id: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reserved:
    """`stale` says that nothing was decided, because the feed's data is missing or too old."""

    progress: TradeProgress
    stale: bool


class TradeActivities:
    def __init__(self, engine: AsyncEngine, *, data_age_max: timedelta, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._data_age_max = data_age_max
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
        async with self._engine.begin() as connection:
            trade, reserved = await trade_locks.lock_to_reserve(connection, step.trade_id)
            if trade.state is not OrderState.PENDING or reserved:
                if reserved and step.recovering:
                    await reservations.keep_held(connection, trade.id)
                return Reserved(progress=trade.progress, stale=False)
            # The clock is read behind the locks: a wait for them may outlast a quote or a day.
            context = await read_risk_context(
                connection, trade.intent, now=self._now(), data_age_max=self._data_age_max
            )
            judged = recovered_claim(trade.intent, context) if step.recovering else evaluate(trade.intent, context)
            match judged:
                case Approved() as approved:
                    trade = await reservations.hold(
                        connection, trade, approved, actor=PIPELINE, recovered=step.recovering
                    )
                case Denial() as missing:
                    # It may be at the broker, so it is never denied: it waits for the fact.
                    await _alert_waiting(connection, trade, missing)
                    return Reserved(progress=trade.progress, stale=True)
                case Denied() as denied:
                    if denied.for_want_of_data and not step.last:
                        return Reserved(progress=trade.progress, stale=True)
                    trade = await _deny(connection, trade, denied)
        return Reserved(progress=trade.progress, stale=False)

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
                trade = await _deny(connection, trade, Denied(denials=(_UNAVAILABLE,)))
        return trade.progress


_UNAVAILABLE = Denial(
    gate=Gate.DEADLINE,
    code="broker_unavailable",
    message="no sender took the order before its submit deadline; nothing was sent",
)


async def _alert_waiting(connection: AsyncConnection, trade: Trade, missing: Denial) -> None:
    await raise_alert(
        connection,
        "recovery_waits",
        key=f"recovery_waits:{trade.id}",
        severity="critical",
        summary=f"{trade.intent} is taken up anew and may be at the broker; its risk cannot be held yet: "
        f"{missing.message}",
        account_id=trade.intent.account_id,
        trade_id=trade.id,
    )


async def _deny(connection: AsyncConnection, trade: Trade, denied: Denied) -> Trade:
    denials = plain(list(denied.denials))
    return await trades.advance(
        connection,
        trade,
        OrderEvent.DENIED,
        actor=PIPELINE,
        changes={"denials": denials, "reason": denied.denials[0].code},
        detail={"denials": denials},
    )
