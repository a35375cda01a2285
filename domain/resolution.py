"""What a search under a magic number proves of a send that nobody answered.

1. An order that the broker did not refuse, or a fill, under the number proves that the broker took it.
2. Absence is proven only by four complete lists, a history in sync, and a quiet window since the sending
   process was proven dead: nothing can be in flight any more. A refused order needs the same proofs: it may be
   what an earlier attempt left, while the one that is asked about still travels.
3. Everything else proves nothing, and says what is missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.fills import Fill
from domain.orders import BrokerOrder, BrokerOrderState


@dataclass(frozen=True, kw_only=True)
class Found:
    """The broker's newest record of the order, None where only its fills show; and its fills."""

    order: BrokerOrder | None
    fills: tuple[Fill, ...]

    @property
    def broker_order_id(self) -> int:
        return self.fills[0].broker_order_id if self.order is None else self.order.broker_order_id


@dataclass(frozen=True, kw_only=True)
class Absent:
    pass


@dataclass(frozen=True, kw_only=True)
class Inconclusive:
    """What the search did show, and what is still missing for a verdict."""

    found: str
    missing: tuple[str, ...]


def chosen(orders: Sequence[BrokerOrder], *, broker_order_id: int | None) -> BrokerOrder | None:
    """The order of a trade among those under its magic: its own number, else the newest that was not refused.

    Attempts that the broker refused may stand in its history beside the one that it took.
    """
    if broker_order_id is not None:
        return next((order for order in orders if order.broker_order_id == broker_order_id), None)
    newest = sorted(orders, key=lambda order: order.broker_order_id, reverse=True)
    taken = (order for order in newest if order.state is not BrokerOrderState.REJECTED)
    return next(taken, newest[0] if newest else None)


def conclude(
    *,
    orders: Sequence[BrokerOrder],
    history_orders: Sequence[BrokerOrder],
    fills: Sequence[Fill],
    position_count: int,
    in_sync: bool,
    sender_ended_at: datetime,
    read_at: datetime,
    quiet: timedelta,
) -> Found | Absent | Inconclusive:
    """Decide on complete lists; a list that could not be read must have raised before."""
    order = chosen([*orders, *history_orders], broker_order_id=None)
    refused = order is not None and order.state is BrokerOrderState.REJECTED
    if fills or (order is not None and not refused):
        return Found(order=order, fills=tuple(fills))
    missing = []
    if position_count:
        missing.append("the order of a position that already shows under this number")
    if not in_sync:
        missing.append("a history in sync with the broker")
    waited = read_at - sender_ended_at
    if waited < quiet:
        missing.append(f"{(quiet - waited).total_seconds():.0f} more quiet seconds since the sender ended")
    if not missing:
        return Absent() if order is None else Found(order=order, fills=())
    shown = [f"{position_count} positions"] if position_count else []
    shown += ["a refused order"] if refused else []
    return Inconclusive(found=f"{' and '.join(shown) or 'nothing'} under this number", missing=tuple(missing))
