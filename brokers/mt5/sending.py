"""Sending an order, in one command: look, check, send once, read back.

1. `order_send` is called once for an order; only a refusal of the filling mode (10030), which proves that the
   attempt was not executed, lets the next mode be tried.
2. Before it is called the adapter is told; an order that was not announced has not been sent, whatever happens.
3. After it was called nothing but the terminal's own answer decides; an error of ours leaves the outcome unknown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brokers.mt5 import checks, filling
from brokers.mt5.constants import BROKERS_OWN, Action, FillingMode, MarginModeNumber
from brokers.mt5.retcodes import INVALID_FILL, NO_CONNECTION, OWNED, REFUSALS, Verdict, retcode_name, verdict
from brokers.mt5.session import Session, Struct
from brokers.mt5.terminals import Reply, TerminalFault
from domain.watch import FindingKind

# Deals lag the answer by milliseconds; what takes longer comes with the feed.
READ_BACK_SECONDS = 0.15


@dataclass(frozen=True, kw_only=True)
class Submission:
    """`request` lacks what only the live market tells; `since` and `until` bound the search for an earlier send.

    `submit_by` is in seconds since the Unix epoch, `position_id` names the position that the order closes, and
    `close_by_position_id` the opposite one that it is closed by.
    `contract` is what the order was sized by, None for one that is not held to it.
    """

    request: dict[str, Any]
    side: str
    filling: int | None
    reference_price: str
    collar_points: int
    position_id: int | None
    close_by_position_id: int | None
    since: int
    until: int
    submit_by: float
    contract: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request that passed every check, and the filling modes it may still be sent with."""

    request: dict[str, Any]
    fillings: tuple[int, ...]
    tick: Struct
    tick_read_at: float


def submit(session: Session, submission: Submission, announce: Callable[[], None]) -> Struct:
    prepared = session.guarded(lambda: _prepare(session, submission))
    if not isinstance(prepared, Prepared):
        return prepared
    late = session.timing.time() - submission.submit_by
    if late > 0:
        return checks.refused("submit_deadline", late_ms=round(late * 1000))
    announce()
    try:
        return _send(session, submission, prepared)
    except Exception as error:  # noqa: BLE001  # law 3: the order may be out, so no error may look like a refusal
        return {"stage": "lost", "failure": f"{type(error).__name__}: {error}"}


def evidence(session: Session, submission: Submission) -> Struct | None:
    """What the account shows under the order's magic; None if there is nothing."""
    magic, symbol = submission.request["magic"], submission.request["symbol"]
    bounds = {"since": submission.since, "until": submission.until}
    session.history.orders.refresh(session.ask, **bounds)
    session.history.deals.refresh(session.ask, **bounds)
    active = session.ask("orders_get", symbol=symbol)
    found: dict[str, list[Struct]] = {
        "orders": [order for order in active if order["magic"] == magic],
        "history_orders": session.history.orders.where("magic", magic),
        "deals": session.history.deals.where("magic", magic),
        "positions": _positions(session, magic),
    }
    # A broker may copy the magic to the orders by which it closes the position.
    for name in ("orders", "history_orders", "deals"):
        found[name] = [record for record in found[name] if record["reason"] not in BROKERS_OWN]
    return {"stage": "found", **found} if any(found.values()) else None


def _positions(session: Session, magic: int) -> list[Struct]:
    """Open positions under the magic, where they may know more than history, which is much cheaper to ask."""
    # A netting position carries the magic of whichever deal came last, which proves nothing.
    hedging = session.pin.margin_mode == MarginModeNumber.RETAIL_HEDGING
    if not hedging or (session.history.in_step and magic not in session.sent):
        return []
    positions: list[Struct] = session.ask("positions_get")
    session.history.compare(positions)
    return [position for position in positions if position["magic"] == magic]


def _prepare(session: Session, submission: Submission) -> Prepared | Struct:
    session.account()
    found = evidence(session, submission)
    symbol, seen = _look(session, submission.request["symbol"])
    if found is not None:
        return found | seen
    if submission.request["magic"] in session.sent:
        return {"stage": "lost", "failure": "sent before under the same magic, and not to be seen yet"}
    request = dict(submission.request)
    refusal = _refusal(session, submission, symbol=symbol, tick=seen["tick"])
    if refusal is not None:
        return refusal
    assert symbol is not None, "an order in a vanished symbol is refused"
    live = _live_terms(session, submission, symbol=symbol, tick=seen["tick"])
    if "stage" in live:
        return live
    request |= live
    if request["action"] == Action.CLOSE_BY:
        # It takes neither volume nor price, and there is nothing to choose of a filling.
        request = {name: value for name, value in request.items() if name not in {"symbol", "volume"}}
        return _checked(session, request, (int(FillingMode.FOK),), seen)
    pending = request["action"] == Action.PENDING
    modes = filling.candidates(symbol, pending=pending, wanted=submission.filling)
    return _checked(session, request, modes, seen)


def _live_terms(session: Session, submission: Submission, *, symbol: Struct, tick: Struct) -> Struct:
    """What only the live account tells, the price and the tickets of positions, or a refusal."""
    request, position_id = submission.request, submission.position_id
    if submission.close_by_position_id is not None:
        assert position_id is not None, "it is a position that another one closes"
        return checks.closing_by(session, position_id, submission.close_by_position_id, request=request)
    priced: Struct = {}
    if request["action"] == Action.DEAL:
        priced = checks.market_price(
            tick,
            side=submission.side,
            reference=submission.reference_price,
            collar_points=submission.collar_points,
            point=symbol["point"],
        )
    if position_id is None or "stage" in priced:
        return priced
    closing = checks.closing(session, position_id, request=request, side=submission.side)
    return closing if "stage" in closing else priced | closing


def _look(session: Session, name: str) -> tuple[Struct | None, Struct]:
    """The symbol and its price as they are now; None and no price for one that the broker lists no more."""
    symbol = checks.listed(session, name)
    tick = checks.NO_TICK if symbol is None else session.tick(name)
    return symbol, {"tick": tick, "tick_read_at": session.timing.time()}


def _refusal(session: Session, submission: Submission, *, symbol: Struct | None, tick: Struct) -> Struct | None:
    refusal = checks.permission(session.account(), session.ask("terminal_info"))
    if refusal is not None:
        return refusal
    if symbol is None:
        return checks.refused(FindingKind.SYMBOL_VANISHED, symbol=submission.request["symbol"])
    return checks.quote(tick) or checks.contract(symbol, submission.contract)


def _checked(session: Session, request: Struct, modes: tuple[int, ...], seen: Struct) -> Prepared | Struct:
    """Ask `order_check` for the first filling mode that it does not refuse as such.

    A verdict that merely says "cannot be checked" leaves the decision to the server. A missing link to it does
    not, since a send would end in an unknown outcome.
    """
    check: Struct = {}
    for used, mode in enumerate(modes):
        check = session.ask("order_check", request | {"type_filling": mode})
        if check["retcode"] == INVALID_FILL:
            continue
        if check["retcode"] == NO_CONNECTION or verdict(check["retcode"]) in REFUSALS:
            break
        return Prepared(request=request, fillings=modes[used:], **seen)
    return checks.refused(
        retcode_name(check["retcode"]),
        check="order_check",
        **{name: check[name] for name in ("retcode", "comment", "margin", "margin_free", "balance", "equity")},
    )


def _send(session: Session, submission: Submission, prepared: Prepared) -> Struct:
    reply = Reply(None, 0, "")
    session.sent.add(submission.request["magic"])
    request = prepared.request
    for mode in prepared.fillings:
        request = prepared.request | {"type_filling": mode}
        reply = session.terminal.call("order_send", request)
        if reply.value is None or reply.value["retcode"] != INVALID_FILL:
            break
        if session.timing.time() > submission.submit_by:
            break
    answer: Struct = {
        "stage": "sent",
        "request": request,
        "result": reply.value,
        "last_error": [reply.code, reply.message],
        "tick": prepared.tick,
        "tick_read_at": prepared.tick_read_at,
        "order": None,
        "deals": [],
        "found": None,
    }
    if reply.value is None:
        return answer
    try:
        if verdict(reply.value["retcode"]) in OWNED:
            answer |= _read_back(session, submission, reply.value)
        else:
            answer["found"] = evidence(session, submission)
            if verdict(reply.value["retcode"]) in REFUSALS:
                session.sent.discard(submission.request["magic"])
    except TerminalFault as fault:
        # The server's word stands without it; a refusal that could not be verified is told apart by this.
        answer["unread"] = str(fault)
    return answer


def _read_back(session: Session, submission: Submission, result: Struct) -> Struct:
    """The order and its deals as the account shows them, waiting a little for those that an execution promises."""
    give_up_at = session.timing.monotonic() + READ_BACK_SECONDS
    pause = 0.001
    while True:
        order = _order(session, submission, result["order"])
        session.history.deals.refresh(session.ask, since=submission.since, until=submission.until)
        deals = session.history.deals.where("order", order["ticket"] if order else result["order"])
        promised = (
            submission.request["action"] != Action.PENDING and verdict(result["retcode"]) is not Verdict.ACCEPTED
        )
        shown = order is not None and _complete(order, deals, submission, promised=promised)
        if shown or not promised or session.timing.monotonic() >= give_up_at:
            return {"order": order, "deals": deals}
        session.timing.sleep(pause)
        pause *= 2


def _order(session: Session, submission: Submission, ticket: int) -> Struct | None:
    if not ticket:
        found = evidence(session, submission)
        orders = [*found["orders"], *found["history_orders"]] if found else []
        return orders[0] if len(orders) == 1 else None
    # In this order an order that moves from one list to the other meanwhile is seen in one of them.
    records = session.ask("orders_get", ticket=ticket) or session.ask("history_orders_get", ticket=ticket)
    return records[0] if records else None


def _complete(order: Struct, deals: list[Struct], submission: Submission, *, promised: bool) -> bool:
    executed = order["volume_initial"] - order["volume_current"]
    # A close by another position makes a deal on each of the two, of the same lots.
    sides = 1 if submission.close_by_position_id is None else 2
    shown = sum(deal["volume"] for deal in deals)
    # Sums of floats, compared well below the least volume step.
    return abs(shown - sides * executed) < 1e-9 and not (promised and not deals)
