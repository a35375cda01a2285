"""The checks just before a send, against what the terminal shows at that moment. What they refuse was not sent."""

from decimal import ROUND_FLOOR, Decimal
from typing import Any

from brokers.mt5 import mapping
from brokers.mt5.constants import PositionKind
from brokers.mt5.floats import exact
from brokers.mt5.retcodes import NOT_FOUND
from brokers.mt5.session import Session, Struct
from brokers.mt5.terminals import TerminalFault
from domain.contracts import Contract
from domain.watch import FindingKind, permission_findings

# What the terminal shows for a symbol without prices.
NO_TICK: Struct = {"bid": 0, "ask": 0}


def refused(reason: str, **detail: Any) -> Struct:
    return {"stage": "refused", "reason": reason, "detail": {name: str(value) for name, value in detail.items()}}


def permission(account: Struct, terminal: Struct) -> Struct | None:
    """Algo trading may go off with any restart of the terminal, so it is asked before each send."""
    found = permission_findings(mapping.permissions(account, terminal))
    return refused(found[0].kind, mend="; ".join(finding.message for finding in found)) if found else None


def contract(symbol: Struct, reserved: dict[str, Any] | None) -> Struct | None:
    """Whether the symbol is still the contract that the order was sized by; None in `reserved` is not compared."""
    if reserved is None:
        return None
    sized = Contract(
        contract_size=Decimal(reserved["contract_size"]),
        tick_size=Decimal(reserved["tick_size"]),
        point=Decimal(reserved["point"]),
        digits=reserved["digits"],
    )
    changes = sized.changes(mapping.contract(symbol))
    told = {term: f"{shown} instead of {was}" for term, (was, shown) in changes.items()}
    return refused(FindingKind.CONTRACT_CHANGED, **told) if changes else None


def listed(session: Session, name: str) -> Struct | None:
    """The symbol as it is now, None if the broker lists it no more; any other fault fails the send."""
    try:
        return session.symbol(name)
    except TerminalFault as fault:
        if fault.code != NOT_FOUND:
            raise
        return None


def quote(tick: Struct) -> Struct | None:
    return None if tick["bid"] and tick["ask"] else refused("no_quote", bid=tick["bid"], ask=tick["ask"])


def market_price(tick: Struct, *, side: str, reference: str, collar_points: int, point: float) -> Struct:
    """Price and deviation of a market order, or a refusal if the price is worse than the collar allows.

    The deviation, which binds under Request and Instant execution, is what the collar leaves, rounded down.
    """
    price = exact(tick["ask"] if side == "buy" else tick["bid"])
    sign = 1 if side == "buy" else -1
    worse = (price - Decimal(reference)) * sign / exact(point)
    if worse > collar_points:
        return refused(
            "price_collar",
            reference_price=reference,
            live_price=price,
            worse_points=worse,
            collar_points=collar_points,
        )
    room = (collar_points - worse).to_integral_value(ROUND_FLOOR)
    return {"price": float(price), "deviation": int(room)}


def closing(session: Session, position_id: int, *, request: Struct, side: str) -> Struct:
    """The ticket of the position to close, or a refusal if it is gone, smaller, or on the other side."""
    position = open_position(session, position_id, symbol=request["symbol"])
    if position is None:
        return refused("position_closed", position_id=position_id)
    if (position["type"] == PositionKind.BUY) == (side == "buy"):
        return refused("close_side", side=side, position_id=position_id)
    if exact(request["volume"]) > exact(position["volume"]):
        return refused("close_volume", volume=exact(request["volume"]), open_volume=exact(position["volume"]))
    return {"position": position["ticket"]}


def closing_by(session: Session, position_id: int, partner_id: int, *, request: Struct) -> Struct:
    """The tickets of the two positions, or a refusal unless they have just the lots in common that were asked for.

    A close-by names no volume: it closes as much as the smaller position has.
    """
    position = open_position(session, position_id, symbol=request["symbol"])
    partner = open_position(session, partner_id, symbol=request["symbol"])
    if position is None or partner is None:
        return refused("position_closed", position_id=position_id if position is None else partner_id)
    if position["symbol"] != partner["symbol"] or position["type"] == partner["type"]:
        return refused("close_by_pair", position_id=position_id, by_position_id=partner_id)
    common = min(exact(position["volume"]), exact(partner["volume"]))
    if common != exact(request["volume"]):
        return refused("close_by_volume", volume=exact(request["volume"]), common_volume=common)
    return {"position": position["ticket"], "position_by": partner["ticket"]}


def open_position(session: Session, position_id: int, *, symbol: str | None = None) -> Struct | None:
    """The open position with this identifier; its ticket is usually, but not always, the same number."""
    queries: list[dict[str, Any]] = [{"ticket": position_id}, {"symbol": symbol} if symbol else {}]
    for query in queries:
        records: list[Struct] = session.ask("positions_get", **query)
        for record in records:
            if record["identifier"] == position_id:
                return record
    return None
