"""A broker in memory for tests of the API: market orders fill at once, others rest until they are cancelled."""

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from brokers.protocol import CommandDone, CommandOutcome, CommandRefused, Lookup
from domain.fills import Entry, Fill, FillKind, FillReason
from domain.money import ZERO, Lots, Price
from domain.orders import (
    Accepted,
    BrokerOrder,
    BrokerOrderState,
    Changes,
    OrderRequest,
    OrderType,
    Quote,
    Rejected,
    SubmitOutcome,
    Unresolved,
)

BID, ASK = Price(Decimal("1.09990")), Price(Decimal("1.10000"))
REFUSED_VOLUME, LOST_VOLUME = Lots(Decimal(7)), Lots(Decimal(8))


@dataclass(kw_only=True)
class InstantBroker:
    """`sent` holds every order that reached it; while `open_for_business` is clear, sends wait."""

    sent: list[OrderRequest] = field(default_factory=list)
    open_for_business: asyncio.Event = field(default_factory=asyncio.Event)
    _orders: dict[int, BrokerOrder] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(5_000_001))

    async def submit(self, order: OrderRequest) -> SubmitOutcome:
        await self.open_for_business.wait()
        self.sent.append(order)
        if order.volume == REFUSED_VOLUME:
            return Rejected(reason="the broker refuses seven lots", retcode=10006)
        if order.volume == LOST_VOLUME:
            return Unresolved(reason="no answer came", retcode=None, sender_ended_at=None)
        number = next(self._numbers)
        market = order.order_type is OrderType.MARKET
        placed = _placed(order, number, state=BrokerOrderState.FILLED if market else BrokerOrderState.WORKING)
        self._orders[number] = placed
        now = datetime.now(UTC)
        return Accepted(
            broker_order_id=number,
            order=placed,
            fills=(_fill(order, number, next(self._numbers)),) if market else (),
            quote=Quote(symbol=order.symbol, bid=BID, ask=ASK, at=now, read_at=now),
            retcode=10009,
        )

    async def cancel(self, broker_order_id: int) -> CommandOutcome:
        order = self._orders[broker_order_id]
        if order.state is not BrokerOrderState.WORKING:
            return CommandRefused(reason=f"the order is {order.state}", retcode=10013)
        done_at = datetime.now(UTC)
        self._orders[broker_order_id] = replace(order, state=BrokerOrderState.CANCELLED, done_at=done_at)
        return CommandDone(retcode=10009)

    async def modify_order(self, broker_order_id: int, changes: Changes) -> CommandOutcome:
        order = self._orders[broker_order_id]
        self._orders[broker_order_id] = replace(order, stop_loss=changes.stop_loss or order.stop_loss)
        return CommandDone(retcode=10009)

    async def find(self, magic: int, *, since: datetime) -> Lookup:
        mine = tuple(order for order in self._orders.values() if order.magic == magic)
        working = tuple(order for order in mine if order.state is BrokerOrderState.WORKING)
        return Lookup(
            magic=magic,
            orders=working,
            positions=(),
            history_orders=tuple(order for order in mine if order not in working),
            fills=(),
            in_sync=True,
            deal_count=1,
            since=since,
            read_at=datetime.now(UTC),
        )


def _placed(order: OrderRequest, number: int, *, state: BrokerOrderState) -> BrokerOrder:
    working = state is BrokerOrderState.WORKING
    return BrokerOrder(
        broker_order_id=number,
        magic=order.magic,
        symbol=order.symbol,
        side=order.side,
        state=state,
        volume=order.volume,
        remaining=order.volume if working else Lots(ZERO),
        price=order.price or ASK,
        stop_loss=order.stop_loss,
        take_profit=order.take_profit,
        position_id=order.position_id,
        placed_at=datetime.now(UTC),
        done_at=None if working else datetime.now(UTC),
    )


def _fill(order: OrderRequest, number: int, ticket: int) -> Fill:
    closing = order.position_id is not None
    return Fill(
        ticket=ticket,
        broker_order_id=number,
        position_id=order.position_id or number,
        magic=order.magic,
        symbol=order.symbol,
        side=order.side,
        kind=FillKind.TRADE,
        entry=Entry.OUT if closing else Entry.IN,
        reason=FillReason.EXPERT,
        volume=order.volume,
        price=ASK if order.side == "buy" else BID,
        commission=Decimal("-0.35"),
        swap=ZERO,
        fee=ZERO,
        profit=Decimal("-1.00") if closing else ZERO,
        executed_at=datetime.now(UTC),
        comment="",
    )
