"""A person's decision on a discrepancy, carried out in our books."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio import activity

from db import accounts, book_side, corrections, discrepancies, locks
from db.accounts import Account
from db.discrepancies import Decided, Discrepancy
from db.owners import read_owners
from db.stops import halting_stop
from domain.discrepancies import DECIDED, WAITING, Decision, DiscrepancyState, objection
from domain.errors import DecisionRefused
from domain.money import Lots
from domain.orders import OrderIntent, OrderType, Side, TimeInForce
from domain.reconciliation import MONEY, POSITIONS, acceptance_id
from domain.stops import CLOSE_WITHIN
from domain.trades import trade_id


@dataclass(frozen=True, kw_only=True)
class DecideDiscrepancy:
    """`decided_by` is the actor; the decision holds for what the discrepancy amounts to when it is carried out."""

    discrepancy_id: UUID
    decision: Decision
    decided_by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Remind:
    discrepancy_id: UUID
    count: int
    waited_hours: int


@dataclass(frozen=True, kw_only=True)
class DiscrepancyProgress:
    """`close` is the order that a decision to close asks for; it reaches the broker as any other trade does."""

    state: DiscrepancyState
    told: str
    account_slug: str
    close: OrderIntent | None = None

    @property
    def waits(self) -> bool:
        return self.state in WAITING


class DecidingActivities:
    def __init__(self, engine: AsyncEngine, *, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.decide_discrepancy, self.remind_of_discrepancy]

    @activity.defn(name="decide_discrepancy")
    async def decide_discrepancy(self, step: DecideDiscrepancy) -> DiscrepancyProgress:
        """Carry the decision out; a repeat gets the first answer, with the same close.

        Raises DecisionRefused, DiscrepancyDecided, DiscrepancyNotFound.
        """
        async with self._engine.begin() as connection:
            slug = await discrepancies.account_slug(connection, step.discrepancy_id)
            account = await accounts.read_account(connection, slug)
            await locks.take(connection, locks.Queue.BOOKING, account.id)
            found = await discrepancies.lock(connection, step.discrepancy_id)
            refused = objection(step.decision, found.difference)
            if refused is not None:
                raise DecisionRefused(refused)
            if found.state is DiscrepancyState.KEPT_OUT:
                raise DecisionRefused(f"{found.difference.subject} is in motion; a later run asks, if it stays")
            close = await self._close(connection, account, found) if step.decision is Decision.CLOSE else None
            if found.state not in WAITING and found.said == (step.decision, step.decided_by, step.reason):
                return _progress(found, account, close=close)
            books = await book_side.read_books(connection, account.id, quiet=timedelta(0))
            if found.state in WAITING and not books.still_has(found.difference):
                raise DecisionRefused(
                    f"the books have moved on since {found.difference.subject} was found; the next run looks again"
                )
            decided = Decided(
                decision=step.decision,
                state=DECIDED[step.decision],
                actor=step.decided_by,
                reason=step.reason,
                at=self._now(),
                event_id=acceptance_id(found.id) if _corrects(step.decision, found) else None,
            )
            await discrepancies.decide(connection, account, found, decided)
            await _carry_out(connection, account, found, decided)
            return _progress(await discrepancies.lock(connection, step.discrepancy_id), account, close=close)

    @activity.defn(name="remind_of_discrepancy")
    async def remind_of_discrepancy(self, step: Remind) -> DiscrepancyProgress:
        """Tell people once more, if it still waits."""
        async with self._engine.begin() as connection:
            slug = await discrepancies.account_slug(connection, step.discrepancy_id)
            account = await accounts.read_account(connection, slug)
            found = await discrepancies.lock(connection, step.discrepancy_id)
            if found.state in WAITING:
                await discrepancies.remind(connection, found, count=step.count, waited_hours=step.waited_hours)
            return _progress(found, account)

    async def _close(self, connection: AsyncConnection, account: Account, found: Discrepancy) -> OrderIntent:
        """The order that closes all of the position as the broker shows it, by somebody of the account."""
        difference = found.difference
        assert difference.theirs is not None, "what is closed is open at the broker"
        assert difference.number is not None, "a position has a number"
        closer = (await read_owners(connection, account.id)).anybody
        if closer is None:
            raise DecisionRefused(f"account {account.slug} has no user in whose name the position could be closed")
        side = Side.SELL if difference.theirs > 0 else Side.BUY
        key = f"discrepancy-{found.id.hex[:16]}"
        now = self._now()
        return OrderIntent(
            trade_id=trade_id(closer, key),
            user_id=closer,
            account_id=account.id,
            client_order_id=key,
            body_hash=hashlib.sha256(f"{key}:{difference.theirs}".encode()).hexdigest(),
            symbol=difference.symbol,
            side=side,
            order_type=OrderType.MARKET,
            volume=Lots(abs(difference.theirs)),
            time_in_force=TimeInForce.GTC,
            received_at=now,
            submit_by=now + CLOSE_WITHIN,
            position_id=difference.number,
            stop_id=await halting_stop(connection, account.slug, user_id=closer, symbol=difference.symbol),
        )


def _corrects(decision: Decision, found: Discrepancy) -> bool:
    return decision is Decision.ACCEPT and found.difference.kind in MONEY


async def _carry_out(connection: AsyncConnection, account: Account, found: Discrepancy, decided: Decided) -> None:
    """Take the broker's view into the books; a close is an order, and a dispute changes nothing."""
    difference = found.difference
    if decided.event_id is not None:
        await corrections.correct_money(
            connection,
            account,
            kind=difference.kind,
            amount=difference.amount,
            event_id=decided.event_id,
            why=f"unexplained {difference.kind}, accepted by {decided.actor}: {decided.reason}",
        )
    elif difference.kind in POSITIONS and decided.decision in {Decision.ACCEPT, Decision.ADOPT, Decision.CLOSE}:
        assert difference.number is not None, "a position has a number"
        await corrections.adjust_position(
            connection,
            account,
            position_id=difference.number,
            symbol=difference.symbol,
            lots=difference.amount,
            price=None,
            discrepancy_id=found.id,
        )


def _progress(found: Discrepancy, account: Account, *, close: OrderIntent | None = None) -> DiscrepancyProgress:
    difference = found.difference
    return DiscrepancyProgress(
        state=found.state,
        told=f"{difference.subject}: ours {difference.ours}, the broker's {difference.theirs}",
        account_slug=account.slug,
        close=close,
    )
