"""Cancel and modify a working order. After any answer the broker's own lists say what became of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio import activity

from activities.heartbeats import heartbeating
from activities.sender import Sender
from activities.units import until_committed
from brokers.protocol import CommandDone, CommandOutcome, CommandRefused, CommandUnknown, Lookup
from db import booking, commands, locks, reservations, trades
from db.controls import read_controls
from db.risk_context import read_risk_context
from db.trades import Trade
from domain.commands import Command, CommandEnd, CommandResult
from domain.errors import NotCancellable
from domain.fills import FillSource
from domain.gates import Denial
from domain.orders import Changes, OrderState
from domain.reservations import Amounts
from domain.resolution import chosen
from domain.risk import claim_of
from domain.trades import TradeProgress

_AT_BROKER = frozenset({OrderState.WORKING, OrderState.PARTIALLY_FILLED})


@dataclass(frozen=True, kw_only=True)
class CancelOrder:
    command: Command


@dataclass(frozen=True, kw_only=True)
class ModifyOrder:
    command: Command
    changes: Changes


@dataclass(frozen=True, kw_only=True)
class CommandAnswer:
    """What became of the command, and of the trade by then."""

    result: CommandResult
    progress: TradeProgress


class CommandActivities:
    def __init__(
        self, engine: AsyncEngine, sender: Sender, *, data_age_max: timedelta, now: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._sender = sender
        self._data_age_max = data_age_max
        self._now = now

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.cancel_order, self.modify_order]

    @activity.defn(name="cancel_order")
    async def cancel_order(self, step: CancelOrder) -> CommandAnswer:
        async with heartbeating():
            trade, known = await self._begin(step.command)
            if known is not None:
                return CommandAnswer(result=known, progress=trade.progress)
            order_id = _order_id(trade)
            outcome = await self._sender.broker.cancel(order_id)
            return await self._finish(step.command, trade, outcome, changes=None)

    @activity.defn(name="modify_order")
    async def modify_order(self, step: ModifyOrder) -> CommandAnswer:
        """Change the levels of a working order; refused where that would claim more than is reserved."""
        async with heartbeating():
            trade, known = await self._begin(step.command)
            if known is not None:
                return CommandAnswer(result=known, progress=trade.progress)
            held_back = await self._hold_back(step.command, trade, step.changes)
            outcome = held_back or await self._sender.broker.modify_order(_order_id(trade), step.changes)
            return await self._finish(step.command, trade, outcome, changes=step.changes)

    async def _begin(self, command: Command) -> tuple[Trade, CommandResult | None]:
        async with self._engine.begin() as connection:
            known = await commands.begin(connection, command)
            trade = await trades.read(connection, command.trade_id)
            if known is None and trade.state not in _AT_BROKER:
                raise NotCancellable(trade.state)
        return trade, known

    async def _hold_back(
        self, command: Command, trade: Trade, changes: Changes
    ) -> CommandRefused | CommandUnknown | None:
        """Why the change does not go; what does go is marked in the same transaction, and a stop waits for it."""
        async with self._engine.begin() as connection:
            refusal = await self._refusal(connection, trade, changes)
            if refusal is None:
                await commands.mark_sent(connection, command)
            elif await commands.was_sent(connection, command):
                reason = f"an earlier try may have reached the broker; now {refusal.reason}"
                return CommandUnknown(reason=reason, retcode=None)
            return refusal

    async def _refusal(self, connection: AsyncConnection, trade: Trade, changes: Changes) -> CommandRefused | None:
        for control in await read_controls(
            connection,
            account_slug=self._sender.account.slug,
            user_id=trade.intent.user_id,
            symbol=trade.intent.symbol,
        ):
            if control.blocks(reducing=False):
                return CommandRefused(reason=f"trading_{control.state}: {control.reason}", retcode=None)
        held = await reservations.claimed(connection, trade.id)
        changed = replace(trade.intent, **_levels(changes))
        context = await read_risk_context(connection, changed, now=self._now(), data_age_max=self._data_age_max)
        claim = claim_of(changed, context)
        if isinstance(claim, Denial):
            return CommandRefused(reason=f"{claim.code}: {claim.message}", retcode=None)
        assert held is not None, "a working order holds a reservation"
        return _more_risk(claim.amounts, held)

    async def _finish(
        self, command: Command, trade: Trade, outcome: CommandOutcome, *, changes: Changes | None
    ) -> CommandAnswer:
        lookup = await self._sender.broker.find(trade.progress.magic, since=trade.intent.received_at)
        result = _result(outcome)
        progress = await until_committed(
            self._engine,
            lambda connection: self._book(connection, command, lookup, result, changes=changes),
        )
        return CommandAnswer(result=result, progress=progress)

    async def _book(
        self,
        connection: AsyncConnection,
        command: Command,
        lookup: Lookup,
        result: CommandResult,
        *,
        changes: Changes | None,
    ) -> TradeProgress:
        actor = f"user:{command.requested_by}"
        await locks.take(connection, locks.Queue.BOOKING, self._sender.account.id)
        await booking.book_fills(
            connection,
            self._sender.account,
            lookup.fills,
            source=FillSource.RESOLVE,
            actor=actor,
            slippage_percent_max=self._sender.slippage_percent_max,
        )
        trade = await trades.lock(connection, command.trade_id)
        await commands.finish(connection, command, result)
        detail = {"key": command.key, "outcome": result.outcome, "reason": result.reason}
        levels = {} if changes is None or result.outcome is not CommandEnd.DONE else _levels(changes)
        if levels:
            trade = await trades.note(
                connection, trade, "trade.modified", actor=actor, changes=levels, detail=detail | levels
            )
        else:
            await trades.journal(
                connection, trade, f"trade.{command.kind}_{result.outcome}", actor=actor, detail=detail
            )
        order = chosen([*lookup.orders, *lookup.history_orders], broker_order_id=trade.progress.broker_order_id)
        if order is not None:
            trade = await booking.apply_order(connection, trade, order, actor=actor)
        return trade.progress


def _more_risk(claim: Amounts, held: Amounts) -> CommandRefused | None:
    """Whether the changed order would claim more than is reserved for it."""
    wanted = claim.share(held.volume) if held.volume < claim.volume else claim
    for name, more, reserved in (("loss", wanted.loss, held.loss), ("value", wanted.notional, held.notional)):
        if more > reserved:
            reason = f"{name} would be {more} against {reserved} reserved; cancel the order and send a new one"
            return CommandRefused(reason=reason, retcode=None)
    return None


def _order_id(trade: Trade) -> int:
    order_id = trade.progress.broker_order_id
    assert order_id is not None, "a working order has the broker's number"
    return order_id


def _levels(changes: Changes) -> dict[str, Any]:
    """The columns that the changes set; zero removes a level."""
    given = {
        "price": changes.price,
        "stop_limit_price": changes.stop_limit_price,
        "stop_loss": changes.stop_loss,
        "take_profit": changes.take_profit,
        "expires_at": changes.expires_at,
    }
    return {name: None if value == 0 else value for name, value in given.items() if value is not None}


def _result(outcome: CommandOutcome) -> CommandResult:
    match outcome:
        case CommandDone():
            return CommandResult(outcome=CommandEnd.DONE, reason=None)
        case CommandRefused(reason=reason):
            return CommandResult(outcome=CommandEnd.REFUSED, reason=reason)
        case CommandUnknown(reason=reason):
            return CommandResult(outcome=CommandEnd.UNKNOWN, reason=reason)
