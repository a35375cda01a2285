"""What a run is judged by: our books against the broker's own, trade by trade and deal by deal. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from brokers.mt5.constants import BROKERS_OWN
from brokers.simulator import constants as mt5
from brokers.simulator.records import Deal, Order
from domain.orders import FINAL_STATES, OrderState

TRADE_TYPES = frozenset({mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL})
BUSTED_TYPES = frozenset({mt5.DEAL_TYPE_BUY_CANCELED, mt5.DEAL_TYPE_SELL_CANCELED})
ENDED_EMPTY = frozenset({OrderState.REJECTED, OrderState.DENIED})


class Fault(StrEnum):
    DUPLICATE = "duplicate order"
    LOST = "lost order"
    UNBOOKED = "unbooked deal"
    BOOKED_WRONG = "deal booked twice or wrongly"
    FALSE_VERDICT = "false verdict"
    UNDECIDED = "undecided"
    LAW = "law broken"
    DEFECT = "defect"


@dataclass(frozen=True, kw_only=True)
class Violation:
    fault: Fault
    what: str


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the broker has under one trade's magic: its orders, and what was executed of them."""

    orders: tuple[Order, ...]
    executed: Mapping[int, Decimal]
    busted: bool

    @property
    def lots(self) -> Decimal:
        return sum(self.executed.values(), Decimal(0))


def truth_of(magic: int, orders: Sequence[Order], deals: Sequence[Deal]) -> Truth:
    own = tuple(order for order in orders if order.magic == magic and order.reason not in BROKERS_OWN)
    tickets = {order.ticket for order in own}
    partners = {order.ticket: order.position_by_id for order in own}
    executed: dict[int, Decimal] = {}
    busted = False
    for deal in deals:
        # Closing one position by another makes a deal on each; the lots are those of the first.
        partner = partners.get(deal.order_ticket)
        if partner and deal.position_id == partner:
            continue
        if deal.order_ticket in tickets and deal.type in TRADE_TYPES | BUSTED_TYPES:
            executed[deal.order_ticket] = executed.get(deal.order_ticket, Decimal(0)) + deal.lots
            busted |= deal.type in BUSTED_TYPES
    return Truth(orders=own, executed=executed, busted=busted)


def judge_trade(trade: Mapping[str, Any], truth: Truth) -> list[Violation]:
    """`trade` is its row of `trade_ledger`."""
    state, name = OrderState(trade["state"]), f"trade {trade['client_order_id']}"
    found: list[Violation] = []
    if len(truth.executed) > 1:
        tickets = ", ".join(str(ticket) for ticket in truth.executed)
        found.append(Violation(fault=Fault.DUPLICATE, what=f"{name}: the broker executed orders {tickets}"))
    if truth.lots > trade["volume"]:
        what = f"{name}: {truth.lots} lots were executed, {trade['volume']} were asked for"
        found.append(Violation(fault=Fault.DUPLICATE, what=what))
    if state not in FINAL_STATES or trade["closed_at"] is None:
        found.append(Violation(fault=Fault.UNDECIDED, what=f"{name} is {state}, {trade['reason']}"))
        return found
    live = [order for order in truth.orders if order.state in (mt5.ORDER_STATE_PLACED, mt5.ORDER_STATE_PARTIAL)]
    if live:
        found.append(Violation(fault=Fault.LOST, what=f"{name} is {state}, and order {live[0].ticket} works"))
    if truth.busted:
        return found
    if truth.lots and not trade["filled_volume"]:
        found.append(Violation(fault=Fault.LOST, what=f"{name} is {state}, and {truth.lots} lots were executed"))
    elif truth.lots != trade["filled_volume"]:
        what = f"{name} counts {trade['filled_volume']} lots, and {truth.lots} were executed"
        found.append(Violation(fault=Fault.FALSE_VERDICT, what=what))
    if not _fits(state, trade, truth):
        what = f"{name} is {state} ({trade['reason']}), the broker has {_told(truth)}"
        found.append(Violation(fault=Fault.FALSE_VERDICT, what=what))
    return found


def judge_retraction(name: str, before: OrderState) -> Violation:
    """A verdict of our own, `before`, that a fill has proven wrong since."""
    what = f"trade {name} was {before}, and then a fill of its order came"
    return Violation(fault=Fault.FALSE_VERDICT, what=what)


def _fits(state: OrderState, trade: Mapping[str, Any], truth: Truth) -> bool:
    """Whether a final state is what the broker's books say."""
    if truth.lots >= trade["volume"]:
        return state is OrderState.FILLED
    if truth.lots:
        return state in (OrderState.CANCELLED, OrderState.EXPIRED)
    taken = [order for order in truth.orders if order.state != mt5.ORDER_STATE_REJECTED]
    if taken:
        return state in (OrderState.CANCELLED, OrderState.EXPIRED)
    return state in ENDED_EMPTY


def _told(truth: Truth) -> str:
    orders = ", ".join(f"order {order.ticket} in state {order.state}" for order in truth.orders)
    return f"{truth.lots} lots under {orders or 'no order'}"


def judge_deals(deals: Sequence[Deal], fills: Sequence[Mapping[str, Any]]) -> list[Violation]:
    """Every deal of the broker's against the newest revision of each fill."""
    found = []
    booked = {fill["ticket"]: fill for fill in fills}
    for deal in deals:
        fill = booked.pop(deal.ticket, None)
        if fill is None:
            found.append(Violation(fault=Fault.UNBOOKED, what=f"deal {deal.ticket} of type {deal.type}"))
            continue
        theirs = (deal.lots, deal.price, deal.profit, deal.commission, deal.swap, deal.fee, deal.order_ticket)
        names = ("volume", "price", "profit", "commission", "swap", "fee", "broker_order_id")
        ours = tuple(fill[name] for name in names)
        if theirs != ours:
            what = f"deal {deal.ticket} is {theirs} at the broker, {ours} in our books"
            found.append(Violation(fault=Fault.BOOKED_WRONG, what=what))
    found += [
        Violation(fault=Fault.BOOKED_WRONG, what=f"fill {ticket} is none of the broker's") for ticket in booked
    ]
    return found


def judge_positions(side: Mapping[int, Decimal], ours: Mapping[int, Decimal]) -> list[Violation]:
    """Open lots by position, the broker's and ours."""
    if side == ours:
        return []
    return [Violation(fault=Fault.BOOKED_WRONG, what=f"the broker holds {dict(side)}, we show {dict(ours)}")]
