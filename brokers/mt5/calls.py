"""Reads: each is one command to the child and leaves as one answer, so that its parts belong together.

1. Any list that cannot be had fails the whole read.
2. History is asked in the server's clock, by bounds that the adapter computed.
3. The account is looked at before and after, so that nothing of another account, shown meanwhile, leaves here.
"""

from brokers.mt5.retcodes import NOT_FOUND
from brokers.mt5.session import Session, Struct
from brokers.mt5.terminals import TerminalFault

# Of the 96 fields of a symbol; all of them for thousands of symbols would be megabytes.
SYMBOL_FIELDS = (
    "name",
    "description",
    "currency_base",
    "currency_profit",
    "currency_margin",
    "digits",
    "point",
    "trade_tick_size",
    "trade_tick_value",
    "trade_contract_size",
    "volume_min",
    "volume_max",
    "volume_step",
    "trade_stops_level",
    "trade_freeze_level",
    "trade_mode",
    "trade_exemode",
    "filling_mode",
    "order_mode",
)
# An instant long before any account: 2000-01-01. Zero would leave the package with uninitialised memory.
BEGINNING = 946_684_800


def account(session: Session) -> Struct:
    return {"account": session.account(), "terminal": session.ask("terminal_info")}


def instruments(session: Session) -> Struct:
    """Every symbol that the terminal knows for the account; what may not be traded says so itself."""
    session.account()
    symbols = session.ask("symbols_get")
    session.account()
    return {"symbols": [{name: symbol[name] for name in SYMBOL_FIELDS} for symbol in symbols]}


def market(session: Session, *, symbols: list[str], since: int, until: int) -> Struct:
    seen = {
        **account(session),
        "ticks": {name: tick for name in symbols if (tick := _tick(session, name)) is not None},
        "positions": session.ask("positions_get"),
        "orders": session.ask("orders_get"),
        "deal_count": session.ask("history_deals_total", since, until),
    }
    session.account()
    return seen


def deals(session: Session, *, since: int, until: int, most: int) -> Struct:
    """The deals of a window, or, if they are more than `most`, their number, for the window to be divided."""
    session.account()
    count = session.ask("history_deals_total", since, until)
    if count > most and until - since > 1:
        return {"count": count}
    found = session.ask("history_deals_get", since, until)
    session.account()
    return {"deals": found}


def position_deals(session: Session, *, position_id: int) -> Struct:
    session.account()
    found = session.ask("history_deals_get", position=position_id)
    session.account()
    return {"deals": found}


def find(session: Session, *, magic: int, since: int, until: int) -> Struct:
    """Everything under one magic from all four lists, and the signs by which the history can be trusted."""
    session.account()
    before = (session.ask("terminal_info")["connected"], session.ask("history_deals_total", BEGINNING, until))
    orders = session.ask("orders_get")
    positions = session.ask("positions_get")
    history_orders = session.ask("history_orders_get", since, until)
    history_deals = session.ask("history_deals_get", since, until)
    after = (session.ask("terminal_info")["connected"], session.ask("history_deals_total", BEGINNING, until))
    session.account()
    tickets = {order["ticket"] for order in (*orders, *history_orders) if order["magic"] == magic}
    return {
        "orders": [order for order in orders if order["magic"] == magic],
        "positions": [position for position in positions if position["magic"] == magic],
        "history_orders": [order for order in history_orders if order["magic"] == magic],
        "deals": [deal for deal in history_deals if deal["magic"] == magic or deal["order"] in tickets],
        "connected": before[0] and after[0],
        "deal_counts": [before[1], after[1]],
    }


def _tick(session: Session, name: str) -> Struct | None:
    """None for a symbol that the terminal does not know; any other fault fails the read."""
    try:
        return session.tick(name)
    except TerminalFault as fault:
        if fault.code != NOT_FOUND:
            raise
        return None
