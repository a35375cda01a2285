"""The emergency stop: what it covers, who may open trading again, and the orders that it sends itself.

1. The latch comes first and by itself; whatever follows, no order passes it but the stop's own closes.
2. A stop is in force once every send that was in flight has ended or is named.
3. Flat is what the broker shows, never what we sent.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from domain.controls import ControlScope, ControlState
from domain.money import Lots
from domain.orders import OrderIntent, OrderType, Side, TimeInForce

# A close has this long to reach the broker; the next round makes a new one.
CLOSE_WITHIN = timedelta(seconds=10)


class StopCause(StrEnum):
    PERSON = "person"
    DAILY_LOSS = "daily_loss"
    ROLLING_LOSS = "rolling_loss"
    UNEXPLAINED_DIFFERENCE = "unexplained_difference"
    SURPLUS_SEND = "surplus_send"
    REPEATED_SLIPPAGE = "repeated_slippage"
    LINK_LOST = "link_lost"
    AUDIT_BROKEN = "audit_broken"
    # A trigger that could not be evaluated trips: not knowing is no reason to go on.
    EVALUATION_FAILED = "evaluation_failed"


@dataclass(frozen=True, kw_only=True)
class Stop:
    """`scope_id` is empty for everything, else a slug, a user's id or a symbol.

    Orders and positions that are not ours are left alone unless `include_external`. `requested_by` is the actor.
    """

    stop_id: UUID
    scope: ControlScope
    scope_id: str
    mode: ControlState
    cancel_orders: bool
    flatten: bool
    include_external: bool
    cause: StopCause
    reason: str
    requested_by: str
    resume_role: str
    requested_at: datetime

    def covers(self, *, account_slug: str, user_id: UUID | None, symbol: str) -> bool:
        match self.scope:
            case ControlScope.ALL:
                return True
            case ControlScope.ACCOUNT:
                return self.scope_id == account_slug
            case ControlScope.USER:
                return self.scope_id == str(user_id)
            case ControlScope.SYMBOL:
                return self.scope_id == symbol

    def __str__(self) -> str:
        what = "everything" if self.scope is ControlScope.ALL else f"{self.scope} {self.scope_id}"
        return f"{self.mode} for {what}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class StopPosition:
    """An open position that a stop covers; `user_id` is who closes it: its owner, or somebody of the account.

    `closable` is what one order can close of it, all if None; what is more waits for the next round.
    """

    account_id: UUID
    account_slug: str
    position_id: int
    symbol: str
    side: Side
    volume: Lots
    user_id: UUID
    ours: bool
    closable: Lots | None = None


def close_key(stop: Stop, position: StopPosition, *, attempt: int) -> str:
    """The client order id of a close: the same for the same attempt, whoever repeats it."""
    return f"stop-{stop.stop_id.hex[:12]}-{position.account_slug[:12]}-{position.position_id}-{attempt}"


def closing_intent(
    stop: Stop, position: StopPosition, *, trade_id: UUID, client_order_id: str, now: datetime
) -> OrderIntent:
    """Close the position at the market, on behalf of the stop, as far as one order can."""
    told = f"{stop.stop_id}:{position.position_id}:{client_order_id}"
    return OrderIntent(
        trade_id=trade_id,
        user_id=position.user_id,
        account_id=position.account_id,
        client_order_id=client_order_id,
        body_hash=hashlib.sha256(told.encode()).hexdigest(),
        symbol=position.symbol,
        side=position.side.opposite,
        order_type=OrderType.MARKET,
        volume=position.closable or position.volume,
        time_in_force=TimeInForce.GTC,
        received_at=now,
        submit_by=now + CLOSE_WITHIN,
        position_id=position.position_id,
        stop_id=stop.stop_id,
    )
