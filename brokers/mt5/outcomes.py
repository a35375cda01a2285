"""What an answer of the child proves about a send or a command. Pure.

1. A send ends as refused only by an answer that excludes execution and that the account does not contradict.
2. What proves nothing is unclear, and becomes `Unresolved` once the sender is dead.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from brokers.mt5 import mapping
from brokers.mt5.clock import ServerClock
from brokers.mt5.constants import OrderStatus
from brokers.mt5.mapping import Struct
from brokers.mt5.retcodes import (
    OWNED,
    PRICE_MOVED,
    REFUSALS,
    Silence,
    Verdict,
    retcode_name,
    silence,
    silence_name,
    verdict,
)
from brokers.protocol import CommandDone, CommandOutcome, CommandRefused, CommandUnknown
from domain.exchanges import Exchange
from domain.orders import Accepted, NotSent, Quote, Rejected


@dataclass(frozen=True, kw_only=True)
class Unclear:
    """Nobody knows yet, and nothing has been done about the sender."""

    reason: str
    retcode: int | None


def submit_outcome(answer: Struct, *, symbol: str, clock: ServerClock) -> Accepted | Rejected | NotSent | Unclear:
    match answer["stage"]:
        case "refused":
            return NotSent(reason=answer["reason"], detail=answer["detail"])
        case "found":
            return _adopted(answer, symbol=symbol, clock=clock)
        case "sent" if answer["result"] is None:
            code, message = answer["last_error"]
            if silence(code, message) is Silence.NOT_SENT:
                return NotSent(reason=silence_name(code, message), detail={"code": str(code), "message": message})
            return Unclear(reason=f"{silence_name(code, message)}: {message}", retcode=None)
        case "sent":
            return _answered(answer, symbol=symbol, clock=clock)
        case _:
            return Unclear(reason=answer.get("failure", f"an answer of stage {answer['stage']}"), retcode=None)


def exchange(answer: Struct) -> Exchange | None:
    """What was sent and what came back, as they were; None if nothing was sent."""
    if "request" not in answer:
        return None
    came = answer["result"]
    return Exchange(request=answer["request"], answer=came or {"last_error": answer["last_error"]})


def _answered(answer: Struct, *, symbol: str, clock: ServerClock) -> Accepted | Rejected | Unclear:
    result = answer["result"]
    retcode: int = result["retcode"]
    judged = verdict(retcode)
    reason = retcode_name(retcode)
    ticket = result["order"] or (answer["order"] or {}).get("ticket", 0)
    if judged in OWNED and ticket:
        return Accepted(
            broker_order_id=ticket,
            order=mapping.broker_order(answer["order"], clock=clock) if answer["order"] else None,
            fills=tuple(mapping.fill(deal, clock=clock) for deal in answer["deals"]),
            quote=_quote(answer, symbol=symbol, clock=clock),
            retcode=retcode,
        )
    if judged in REFUSALS and "unread" not in answer and not _contradicted(answer["found"]):
        return Rejected(reason=reason, retcode=retcode, repeatable=retcode in PRICE_MOVED)
    return Unclear(reason=f"{reason}: {result['comment']}", retcode=retcode)


def _contradicted(found: Struct | None) -> bool:
    """Whether the account shows, under the magic of a refused order, anything but the refusal itself."""
    if found is None:
        return False
    refused = all(order["state"] == OrderStatus.REJECTED for order in found["history_orders"])
    return bool(found["orders"] or found["deals"] or found["positions"] or not refused)


def _adopted(found: Struct, *, symbol: str, clock: ServerClock) -> Accepted | Rejected | Unclear:
    """The outcome of an earlier send under the same magic. Two orders under one magic leave nothing to choose."""
    orders = {order["ticket"]: order for order in (*found["history_orders"], *found["orders"])}
    tickets = set(orders) | {deal["order"] for deal in found["deals"]}
    if not tickets:
        # A position is named for the order that opened it.
        tickets = {position["identifier"] for position in found["positions"]}
    if len(tickets) != 1:
        return Unclear(reason=f"several orders carry its magic: {sorted(tickets)}", retcode=None)
    ticket = tickets.pop()
    order = orders.get(ticket)
    if order is not None and order["state"] == OrderStatus.REJECTED and not found["deals"]:
        return Rejected(reason="rejected_before", retcode=None)
    return Accepted(
        broker_order_id=ticket,
        order=mapping.broker_order(order, clock=clock) if order is not None else None,
        fills=tuple(mapping.fill(deal, clock=clock) for deal in found["deals"]),
        quote=_quote(found, symbol=symbol, clock=clock),
        retcode=None,
    )


def _quote(answer: Struct, *, symbol: str, clock: ServerClock) -> Quote | None:
    read_at = datetime.fromtimestamp(answer["tick_read_at"], UTC)
    return mapping.quote(symbol, answer["tick"], clock=clock, read_at=read_at)


def command_outcome(answer: Struct) -> CommandOutcome:
    """Of a modification: whether the broker took the new levels."""
    if answer["stage"] == "gone":
        return CommandRefused(reason="gone", retcode=None)
    result = answer["result"]
    if result is None:
        code, message = answer["last_error"]
        if silence(code, message) is Silence.NOT_SENT:
            return CommandRefused(reason=silence_name(code, message), retcode=None)
        return CommandUnknown(reason=f"{silence_name(code, message)}: {message}", retcode=None)
    retcode: int = result["retcode"]
    match verdict(retcode):
        case Verdict.DONE | Verdict.NO_OP:
            return CommandDone(retcode=retcode)
        case Verdict.RETRY | Verdict.WAIT | Verdict.REJECT:
            return CommandRefused(reason=retcode_name(retcode), retcode=retcode)
        case Verdict.PARTIAL | Verdict.ACCEPTED | Verdict.UNKNOWN:
            return CommandUnknown(reason=retcode_name(retcode), retcode=retcode)


def cancel_outcome(answer: Struct) -> CommandOutcome:
    """Of a cancel: what the order became counts for more than the answer, since a fill may beat it."""
    order = answer.get("order")
    retcode = (answer.get("result") or {}).get("retcode")
    if order is not None and not answer.get("active"):
        if order["state"] == OrderStatus.CANCELED:
            return CommandDone(retcode=retcode)
        return CommandRefused(reason=f"order_{OrderStatus(order['state']).name.lower()}", retcode=retcode)
    if answer["stage"] == "gone":
        return CommandUnknown(reason="the order is in no list", retcode=None)
    return command_outcome(answer)
