"""Reservations: each judged by every gate behind the account's lock, and held or denied in the same transaction.

1. What is judged later sees all that was held before, be it by another process or a moment ago in the same batch.
2. Those that wait while others are being made are made together: one lock, one commit. If a batch fails, each of
   it is made alone, so that no order is kept from its answer by another one.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db import reservations, trade_locks, trades
from db.journal import raise_alert
from db.jsons import plain
from db.risk_context import read_risk_context
from db.trades import Trade
from domain.errors import TradeNotFound
from domain.gates import Denial
from domain.orders import OrderEvent, OrderIntent, OrderState
from domain.origins import Origin, origin
from domain.risk import Denied, evaluate, recovered_claim
from domain.risk_context import RiskContext
from domain.sizing import Approved
from domain.trades import TradeProgress

PIPELINE = "pipeline"
# More at once would make the first of them wait too long for their common commit.
BATCH_MAX = 32


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
class Reserved:
    """`stale` says that nothing was decided, because the feed's data is missing or too old."""

    progress: TradeProgress
    stale: bool


class Reserving:
    """Makes each reservation in a transaction of its own."""

    def __init__(self, engine: AsyncEngine, *, data_age_max: timedelta, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._data_age_max = data_age_max
        self._now = now

    async def reserve(self, step: ReserveTrade) -> Reserved:
        """Run the gates under the locks; hold what passes, deny what does not. Raises TradeNotFound."""
        (reserved,) = await self._make([(step, origin.get())])
        return reserved

    async def _make(self, asked: Sequence[tuple[ReserveTrade, Origin]]) -> list[Reserved]:
        async with self._engine.begin() as connection:
            locked = await trade_locks.lock_to_reserve(connection, [step.trade_id for step, _ in asked])
            # The clock is read behind the locks: a wait for them may outlast a quote or a day.
            judging = _Judging(connection, now=self._now(), data_age_max=self._data_age_max)
            made = []
            for step, asked_by in asked:
                origin.set(asked_by)
                if step.trade_id not in locked:
                    raise TradeNotFound(step.trade_id)
                trade, reserved = locked[step.trade_id]
                if trade.state is not OrderState.PENDING or reserved:
                    if reserved and step.recovering:
                        await reservations.keep_held(connection, trade.id)
                    made.append(Reserved(progress=trade.progress, stale=False))
                else:
                    made.append(await judging.decide(trade, step))
            return made


# A step that waits, where it came from, and who waits for its answer.
_Waiting = tuple[ReserveTrade, Origin, asyncio.Future[Reserved]]


class ReservingTogether(Reserving):
    """Makes those that wait in one transaction; the first never waits for others to come."""

    def __init__(self, engine: AsyncEngine, *, data_age_max: timedelta, now: Callable[[], datetime]) -> None:
        super().__init__(engine, data_age_max=data_age_max, now=now)
        self._waiting: list[_Waiting] = []
        self._draining: asyncio.Task[None] | None = None

    async def reserve(self, step: ReserveTrade) -> Reserved:
        made: asyncio.Future[Reserved] = asyncio.get_running_loop().create_future()
        self._waiting.append((step, origin.get(), made))
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain())
        return await made

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            if not await self._answer(batch):
                for each in batch:
                    await self._answer([each])

    async def _answer(self, batch: Sequence[_Waiting]) -> bool:
        """Make a batch and answer those who wait; False leaves them waiting, to be made one by one."""
        try:
            answers = await self._make([(step, asked_by) for step, asked_by, _ in batch])
        except Exception as error:  # noqa: BLE001 # whoever waits gets it, as if they had made it themselves
            if len(batch) > 1:
                return False
            ((_, _, made),) = batch
            if not made.done():
                made.set_exception(error)
            return True
        for (_, _, made), answer in zip(batch, answers, strict=True):
            # One whose caller has given up is decided all the same; a repeat finds it.
            if not made.done():
                made.set_result(answer)
        return True


Shared = tuple[object, ...]


@dataclass(kw_only=True)
class _Judging:
    """Decides one order after the other, on facts that are read once for all that share them."""

    connection: AsyncConnection = field(kw_only=False)
    now: datetime
    data_age_max: timedelta
    facts: dict[Shared, RiskContext] = field(default_factory=dict)

    async def decide(self, trade: Trade, step: ReserveTrade) -> Reserved:
        intent = trade.intent
        context = await self._context(intent)
        match recovered_claim(intent, context) if step.recovering else evaluate(intent, context):
            case Approved() as approved:
                trade = await reservations.hold(
                    self.connection, trade, approved, actor=PIPELINE, recovered=step.recovering
                )
                self._remember(intent, context, approved)
            case Denial() as missing:
                # It may be at the broker, so it is never denied: it waits for the fact.
                await _alert_waiting(self.connection, trade, missing)
                return Reserved(progress=trade.progress, stale=True)
            case Denied() as denied:
                if denied.for_want_of_data and not step.last:
                    return Reserved(progress=trade.progress, stale=True)
                trade = await deny(self.connection, trade, denied)
        return Reserved(progress=trade.progress, stale=False)

    async def _context(self, intent: OrderIntent) -> RiskContext:
        known = self.facts.get(_shared(intent))
        if known is not None and _shares_facts(intent, known):
            return known
        context = await read_risk_context(self.connection, intent, now=self.now, data_age_max=self.data_age_max)
        self.facts[_shared(intent)] = context
        return context

    def _remember(self, intent: OrderIntent, context: RiskContext, approved: Approved) -> None:
        """What was held now counts for those who follow; what others share with it is read anew."""
        self.facts.clear()
        if _shares_facts(intent, context):
            self.facts[_shared(intent)] = context.after(approved.amounts)


def _shared(intent: OrderIntent) -> Shared:
    """What orders have in common that are judged by the same facts: all that is asked for, and by whom."""
    return (
        *(intent.account_id, intent.user_id, intent.symbol, intent.side, intent.order_type, intent.volume),
        *(intent.price, intent.stop_limit_price, intent.stop_loss, intent.take_profit),
    )


def _shares_facts(intent: OrderIntent, context: RiskContext) -> bool:
    """Facts of a position, and of orders like this one, are of this order alone."""
    return intent.position_id is None and not context.tells_repeats


async def deny(connection: AsyncConnection, trade: Trade, denied: Denied) -> Trade:
    denials = plain(list(denied.denials))
    return await trades.advance(
        connection,
        trade,
        OrderEvent.DENIED,
        actor=PIPELINE,
        changes={"denials": denials, "reason": denied.denials[0].code},
        detail={"denials": denials},
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
