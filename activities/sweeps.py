"""What a stop does at the broker itself: look at what is there, and cancel working orders.

Closes are not made here: each is a trade of its own, with all that guards a send.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity

from activities.heartbeats import heartbeating
from activities.sender import Sender
from brokers.protocol import CommandDone, CommandOutcome, MarketReading
from db import accounts
from db.instruments import largest_volumes
from db.journal import record
from db.owners import Owners, read_owners
from db.stops import read_stop
from domain.errors import BrokerUnavailable
from domain.magics import is_ours
from domain.money import Lots
from domain.orders import BrokerOrder
from domain.positions import BrokerPosition
from domain.stops import Stop, StopPosition


@dataclass(frozen=True, kw_only=True)
class SweepAccount:
    stop: Stop
    account_slug: str


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What the broker shows of the account after the sweep.

    `positions` are those that the stop covers, `orders` the working orders that it covers and could not cancel,
    each with the reason; `cancelled` those that it did, and `left` what is there and not the stop's to touch.
    `over` says that trading was opened again, so that nothing was looked at.
    """

    positions: tuple[StopPosition, ...]
    orders: tuple[str, ...]
    cancelled: tuple[str, ...]
    left: tuple[str, ...]
    over: bool = False


NOTHING = Swept(positions=(), orders=(), cancelled=(), left=(), over=True)


class SweepActivities:
    def __init__(self, engine: AsyncEngine, sender: Sender) -> None:
        self._engine = engine
        self._sender = sender

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.sweep]

    @activity.defn(name="sweep")
    async def sweep(self, step: SweepAccount) -> Swept:
        """Cancel what the stop covers, then say what the broker shows."""
        assert step.account_slug == self._sender.account.slug, "a sweep is made by the account's own sender"
        async with heartbeating():
            if await self._is_over(step.stop):
                return NOTHING
            cancelled, refused = await self._cancel_orders(step.stop)
            reading = await self._read()
            owners = await self._owners()
            positions, left = self._positions(step.stop, reading.positions, owners, await self._largest())
            covered, foreign = self._split_orders(step.stop, reading.orders, owners)
            # What became of the cancelled orders comes into the books at the feed's next look.
            self._sender.wake_feed.set()
            return Swept(
                positions=positions,
                orders=tuple(
                    f"{_order(order)}: {refused.get(order.broker_order_id, 'still works')}" for order in covered
                ),
                cancelled=cancelled,
                left=(*left, *(f"{_order(order)}, an order that is not ours" for order in foreign)),
            )

    async def _cancel_orders(self, stop: Stop) -> tuple[tuple[str, ...], dict[int, str]]:
        if not stop.cancel_orders:
            return (), {}
        reading = await self._read()
        covered, _ = self._split_orders(stop, reading.orders, await self._owners())
        cancelled: list[str] = []
        refused: dict[int, str] = {}
        for order in covered:
            outcome = await self._sender.broker.cancel(order.broker_order_id)
            if isinstance(outcome, CommandDone):
                cancelled.append(_order(order))
            else:
                refused[order.broker_order_id] = outcome.reason
            await self._note_cancel(stop, order, outcome)
        return tuple(cancelled), refused

    async def _note_cancel(self, stop: Stop, order: BrokerOrder, outcome: CommandOutcome) -> None:
        done = isinstance(outcome, CommandDone)
        async with self._engine.begin() as connection:
            await accounts.check_lease(connection, self._sender.lease)
            await record(
                connection,
                "stop.order_cancelled" if done else "stop.cancel_refused",
                actor=self._sender.actor,
                subject=f"stop:{stop.stop_id}",
                detail={"order": order, "reason": None if isinstance(outcome, CommandDone) else outcome.reason},
                account_id=self._sender.account.id,
            )

    async def _is_over(self, stop: Stop) -> bool:
        async with self._engine.connect() as connection:
            return (await read_stop(connection, stop.stop_id)).resumed_at is not None

    async def _read(self) -> MarketReading:
        """What the broker shows; a terminal without a link shows what it remembers, which is nothing to go by."""
        before = await self._sender.broker.read_account()
        reading = await self._sender.broker.read_market((), deals_since=before.read_at)
        if not (before.permissions.connected and reading.account.permissions.connected):
            raise BrokerUnavailable("the terminal has no link to the broker")
        return reading

    async def _owners(self) -> Owners:
        async with self._engine.connect() as connection:
            return await read_owners(connection, self._sender.account.id)

    async def _largest(self) -> Mapping[str, Lots]:
        async with self._engine.connect() as connection:
            return await largest_volumes(connection, self._sender.account.id)

    def _positions(
        self,
        stop: Stop,
        positions: tuple[BrokerPosition, ...],
        owners: Owners,
        largest: Mapping[str, Lots],
    ) -> tuple[tuple[StopPosition, ...], tuple[str, ...]]:
        """Those that the stop covers, and in words those that it leaves to whoever opened them."""
        mine: list[StopPosition] = []
        left: list[str] = []
        for position in positions:
            owner = owners.of_position(position.position_id, position.magic)
            if not self._covers(stop, owner, position.symbol):
                continue
            closer = owner or owners.anybody
            foreign = owner is None and not is_ours(position.magic)
            if (foreign and not stop.include_external) or closer is None:
                whose = "opened by no order of ours" if closer is not None else "nobody here may close it"
                left.append(
                    f"{position.side} {position.volume} {position.symbol} #{position.position_id}, {whose}"
                )
                continue
            mine.append(
                StopPosition(
                    account_id=self._sender.account.id,
                    account_slug=self._sender.account.slug,
                    position_id=position.position_id,
                    symbol=position.symbol,
                    side=position.side,
                    volume=position.volume,
                    closable=min(position.volume, largest.get(position.symbol, position.volume)),
                    user_id=closer,
                    ours=owner is not None,
                )
            )
        return tuple(mine), tuple(left)

    def _split_orders(
        self, stop: Stop, orders: tuple[BrokerOrder, ...], owners: Owners
    ) -> tuple[list[BrokerOrder], list[BrokerOrder]]:
        """The working orders that the stop covers, and those in its scope that it leaves alone."""
        covered: list[BrokerOrder] = []
        foreign: list[BrokerOrder] = []
        for order in orders:
            owner = owners.of_magic(order.magic)
            if self._covers(stop, owner, order.symbol):
                ours = owner is not None or is_ours(order.magic)
                (covered if ours or stop.include_external else foreign).append(order)
        return covered, foreign

    def _covers(self, stop: Stop, owner: UUID | None, symbol: str) -> bool:
        return stop.covers(account_slug=self._sender.account.slug, user_id=owner, symbol=symbol)


def _order(order: BrokerOrder) -> str:
    side = order.side or "close by"
    return f"{side} {order.remaining} {order.symbol} @ {order.price} #{order.broker_order_id}"
