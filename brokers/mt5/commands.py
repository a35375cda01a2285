"""Commands on what already exists: cancel an order, change its levels, change a position's levels.

Each reads its target, sends, and reads the target again. Repeating any of them is harmless, so they need no claim.
"""

from typing import Any

from brokers.mt5.checks import open_position
from brokers.mt5.constants import Action, OrderKind
from brokers.mt5.session import Session, Struct
from brokers.mt5.terminals import TerminalFault


def cancel(session: Session, *, ticket: int) -> Struct:
    before = session.guarded(lambda: _pinned_order(session, ticket))
    if not before["active"]:
        return {"stage": "gone", "order": before["order"]}
    answer = _send(session, {"action": int(Action.REMOVE), "order": ticket})
    try:
        after = _pinned_order(session, ticket)
    except TerminalFault as fault:
        return answer | {"unread": str(fault)}
    return answer | {"order": after["order"], "active": after["active"]}


def modify_order(session: Session, *, ticket: int, changes: dict[str, Any]) -> Struct:
    """Everything that is not changed is copied from the live order: what is left out would be removed."""
    before = session.guarded(lambda: _pinned_order(session, ticket))
    if not before["active"]:
        return {"stage": "gone", "order": before["order"]}
    order = before["order"]
    request = {
        "action": int(Action.MODIFY),
        "order": ticket,
        "symbol": order["symbol"],
        "price": order["price_open"],
        "sl": order["sl"],
        "tp": order["tp"],
        "type_time": order["type_time"],
        "expiration": order["time_expiration"],
        "type_filling": order["type_filling"],
    }
    if order["type"] in (OrderKind.BUY_STOP_LIMIT, OrderKind.SELL_STOP_LIMIT):
        request["stoplimit"] = order["price_stoplimit"]
    return _send(session, request | changes)


def modify_position(session: Session, *, position_id: int, changes: dict[str, float]) -> Struct:
    """Both levels are sent, since the one left out would be deleted."""
    position = session.guarded(lambda: _pinned_position(session, position_id))
    if position is None:
        return {"stage": "gone", "order": None}
    request = {
        "action": int(Action.SLTP),
        "symbol": position["symbol"],
        "position": position["ticket"],
        "sl": position["sl"],
        "tp": position["tp"],
    }
    return _send(session, request | changes)


def _pinned_order(session: Session, ticket: int) -> Struct:
    """The order where it is now: among the active ones, in history, or, for a moment between them, nowhere."""
    session.account()
    active = session.ask("orders_get", ticket=ticket)
    past = [] if active else session.ask("history_orders_get", ticket=ticket)
    return {"active": bool(active), "order": next(iter([*active, *past]), None)}


def _pinned_position(session: Session, position_id: int) -> Struct | None:
    session.account()
    return open_position(session, position_id)


def _send(session: Session, request: Struct) -> Struct:
    reply = session.terminal.call("order_send", request)
    return {"stage": "sent", "result": reply.value, "last_error": [reply.code, reply.message]}
