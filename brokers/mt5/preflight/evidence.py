"""What a broker did with the orders of the pre-flight, and what of it Nexus depends on. Pure.

Much of this is a report: brokers differ, and no answer is wrong. Failed is only what Nexus cannot work with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brokers.mt5.constants import DealEntry, MarginModeNumber, OrderStatus
from brokers.mt5.preflight import judgement, orders
from brokers.mt5.preflight.report import Finding, failed, ok
from brokers.mt5.retcodes import FENCED, OWNED, Silence, Verdict, retcode_name, silence, verdict
from brokers.mt5.terminals import Reply

Struct = Mapping[str, Any]

LOOK = "look at the account by hand, under the magic number"
LOST_MAGIC_MEND = "do not trade here with Nexus: it finds an order whose answer was lost by its magic alone"
FENCED_MEND = (
    "this terminal has served a worker and takes orders under its lease alone: run the pre-flight before the "
    "first worker, or with --read-only"
)


def owned(reply: Reply) -> bool:
    """Whether the broker took the order."""
    return reply.value is not None and verdict(reply.value["retcode"]) in OWNED


def proven(reply: Reply) -> bool:
    """Whether the answer says for sure what became of the request."""
    if reply.value is None:
        return silence(reply.code, reply.message) is Silence.NOT_SENT
    return verdict(reply.value["retcode"]) is not Verdict.UNKNOWN


def market_order(reply: Reply, *, milliseconds: float, magic: int) -> Finding:
    result = reply.value
    if result is None:
        return unanswered_send(reply, magic=magic)
    if not owned(reply):
        return judgement.refusal(result)
    return ok(
        f"{result['retcode']} {retcode_name(result['retcode'])} in {milliseconds:.0f} ms, "
        f"order {result['order']}, deal {result['deal']}, {result['volume']} lots at {result['price']}, "
        f"magic {magic}"
    )


def unanswered_send(reply: Reply, *, magic: int) -> Finding:
    seen = f"order_send gave no result: {reply.message} ({reply.code}), magic {magic}"
    return failed(seen, mend=FENCED_MEND if reply.message.startswith(FENCED) else LOOK)


def stop_loss(asked: float, *, refused: Struct | None, position: Struct | None) -> Finding:
    """`refused` is the answer to the order with the stop, where one without it had to follow."""
    if refused is not None:
        seen = f"{refused['retcode']} {retcode_name(refused['retcode'])} with {asked} in the opening request"
        return failed(seen, mend="ask the broker for the least distance: such orders will be rejected here")
    if position is None:
        return failed(f"{asked} was taken, and no position shows it", mend=LOOK)
    if abs(position["sl"] - asked) > 1e-9:
        return failed(f"{asked} was asked, {position['sl']} is set", mend="ask the broker why it moves stops")
    return ok(f"{asked} was taken in the opening request and is set on the position")


def deal_delay(deals: Sequence[Struct], *, milliseconds: float, polls: int) -> Finding:
    if not deals:
        mend = "wait, and look into the terminal's History: without deals nothing is ever booked"
        return failed(f"no deal of the order within {milliseconds:.0f} ms", mend=mend)
    told = ", ".join(str(deal["ticket"]) for deal in deals)
    return ok(f"deal {told} was visible {milliseconds:.0f} ms after the answer, at look {polls}")


@dataclass(frozen=True, kw_only=True)
class Traces:
    """The records of one executed order, None or empty where there is none."""

    order: Struct | None
    deals: Sequence[Struct]
    position: dict[str, Any] | None

    def named(self) -> list[tuple[str, Struct]]:
        found = [("order", self.order), *(("deal", deal) for deal in self.deals), ("position", self.position)]
        return [(name, record) for name, record in found if record is not None]


def magic_kept(traces: Traces, *, magic: int, margin_mode: int) -> Finding:
    seen = ", ".join(f"{record['magic']} on the {name}" for name, record in traces.named())
    # A netting position carries the magic of whichever deal came last; nothing is searched by it there.
    hedging = margin_mode == MarginModeNumber.RETAIL_HEDGING
    needed = [record for name, record in traces.named() if name != "position" or hedging]
    if traces.order is None or not traces.deals or any(record["magic"] != magic for record in needed):
        return failed(
            f"sent {magic}, found {seen or 'nothing'}",
            mend=LOST_MAGIC_MEND,
        )
    return ok(seen)


def comment(traces: Traces) -> Finding:
    told = ", ".join(f"{record['comment']!r} on the {name}" for name, record in traces.named())
    return ok(f"sent {orders.COMMENT!r}, stored {told or 'nowhere'}")


def request_id(opening: Struct | None) -> Finding:
    if opening is None:
        return ok("no result to read it from")
    return ok(f"{opening['request_id']} with the executed order, external code {opening['retcode_external']}")


def pending_order(
    reply: Reply, *, magic: int, price: float, listed: Struct | None, milliseconds: float
) -> Finding:
    result = reply.value
    if result is None:
        return unanswered_send(reply, magic=magic)
    if not owned(reply):
        return judgement.refusal(result)
    seen = f"{result['retcode']} {retcode_name(result['retcode'])}, order {result['order']} at {price}"
    if listed is None:
        return failed(f"{seen}, not listed within {milliseconds:.0f} ms", mend=LOOK)
    seen = f"{seen}, listed after {milliseconds:.0f} ms with magic {listed['magic']}"
    return ok(seen) if listed["magic"] == magic else failed(f"{seen} instead of {magic}", mend=LOST_MAGIC_MEND)


def cancelled(reply: Reply, *, listed: Struct | None, past: Struct | None) -> Finding:
    result = reply.value
    if result is None:
        return failed(f"order_send gave no result: {reply.message} ({reply.code})", mend=LOOK)
    seen = f"{result['retcode']} {retcode_name(result['retcode'])}"
    if listed is not None:
        return failed(f"{seen}, and the order is still listed", mend="cancel it by hand")
    if past is None:
        return failed(f"{seen}, and history does not have the order", mend=LOOK)
    state = OrderStatus(past["state"]).name
    if past["state"] != OrderStatus.CANCELED:
        return failed(f"{seen}, in history as {state}", mend=LOOK)
    return ok(f"{seen}, gone from the list, in history as {state} ({past['state']})")


def close(reply: Reply, *, magic: int, identifier: int, deals: Sequence[Struct]) -> Finding:
    """`deals` are those of the position."""
    result = reply.value
    if result is None:
        return failed(f"order_send gave no result: {reply.message} ({reply.code})", mend=LOOK)
    if not owned(reply):
        return judgement.refusal(result)
    out = [deal for deal in deals if deal["entry"] == DealEntry.OUT]
    seen = f"{result['retcode']} {retcode_name(result['retcode'])}"
    if not out:
        mend = "wait, and look into the terminal's History: Nexus books a close by its position_id"
        return failed(f"{seen}, and no OUT deal has position_id {identifier}", mend=mend)
    told = ", ".join(
        f"OUT deal {deal['ticket']} with magic {deal['magic']}"
        f"{'' if deal['magic'] == magic else ' (another)'} and position_id {deal['position_id']}"
        for deal in out
    )
    return ok(f"{seen}, {told}")


def ticket_queries(*, order: int, by_order: Reply, deal: int | None, by_deal: Reply | None) -> Finding:
    told = [f"ticket={order} (the order): {_returned(by_order)}"]
    if by_deal is not None:
        told.append(f"ticket={deal} (the deal): {_returned(by_deal)}")
    return ok("; ".join(told))


def _returned(reply: Reply) -> str:
    if reply.value is None:
        return f"None, {reply.message} ({reply.code})"
    return ", ".join(f"deal {deal['ticket']} of order {deal['order']}" for deal in reply.value) or "nothing"


def nothing_left(left: Sequence[str], *, unclear: bool, magics: tuple[int, int]) -> Finding:
    if left:
        return failed(", ".join(left), mend="close and cancel this by hand in the terminal")
    if unclear:
        seen = f"nothing shows under the magics {magics[0]} and {magics[1]}, but an answer was lost"
        return failed(seen, mend="look at the account again in a minute")
    return ok("no order and no position under the magic numbers of this run")
