"""Trades and positions as tables for the terminal."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 160
STATE_STYLES = {
    "filled": "green",
    "working": "cyan",
    "partially_filled": "cyan",
    "denied": "red",
    "rejected": "red",
    "unresolved": "bold yellow",
}


def screen() -> Console:
    """The terminal; where there is none, as in a pipe, wide enough that no row breaks."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def trades_table(title: str, trades: Sequence[dict[str, Any]]) -> RenderableType:
    if not trades:
        return Text(f"{title}: none")
    table = Table(title=title, title_justify="left")
    for column in ("received", "order", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("filled", "average", "reason", "id"):
        table.add_column(column, overflow="fold")
    for trade in trades:
        table.add_row(
            f"{datetime.fromisoformat(trade['received_at']).astimezone():%m-%d %H:%M:%S}",
            _order(trade),
            _state(trade["state"]),
            trade["filled_volume"],
            _or_dash(trade["average_price"]),
            _or_dash(trade["reason"]),
            trade["id"],
        )
    return table


def positions_tables(found: dict[str, Any]) -> RenderableType:
    """The open positions, and each account with how long ago it was read: flat is only said as of then."""
    accounts = Table("account", "equity", "margin", "free margin", "read")
    for account in found["accounts"]:
        accounts.add_row(
            f"{account['account']} ({account['currency']})",
            _or_dash(account["equity"]),
            _or_dash(account["margin"]),
            _or_dash(account["margin_free"]),
            _ago(account["age_ms"]),
        )
    if not found["positions"]:
        return Group(Text("Positions: none"), accounts)
    positions = Table("position", "side", "volume", "symbol", "open", "now", "stop loss", "take profit", "profit")
    for position in found["positions"]:
        positions.add_row(
            str(position["position_id"]),
            position["side"],
            position["volume"],
            position["symbol"],
            position["price_open"],
            position["price_current"],
            _or_dash(position["stop_loss"]),
            _or_dash(position["take_profit"]),
            f"{position['profit']} {position['currency']}",
        )
    return Group(positions, accounts)


def status_tables(status: dict[str, Any]) -> RenderableType:
    """What the system says of its accounts, its trades and its stops."""
    accounts = Table("account", "sender's lease", "last read", "symbols quoted", "oldest quote")
    for account in status["accounts"]:
        snapshot, quotes = account["snapshot"], account["quotes"]
        accounts.add_row(
            account["account"],
            f"number {account['lease']['number']}",
            _ago(None if snapshot is None else snapshot["age_ms"]),
            str(len(quotes)),
            _ago(max((quote["age_ms"] for quote in quotes), default=None)),
        )
    trades = ", ".join(f"{count} {state}" for state, count in status["trades"].items() if count) or "none"
    told: list[RenderableType] = [accounts, Text(f"Trades: {trades}; {status['stuck']} need a person")]
    told += [
        Text(
            f"{control['scope']} {control['scope_id']} is {control['state']}: {control['reason']}",
            style="bold red",
        )
        for control in status["controls"]
        if control["state"] != "active"
    ]
    told += [Text(line, style="bold red") for account in status["accounts"] for line in _standing(account)]
    return Group(*told)


def _standing(account: dict[str, Any]) -> Iterator[str]:
    """What keeps the account, or a symbol of it, from trading."""
    for condition in account["conditions"]:
        yield f"account {account['account']}: {condition['message']}"
    for change in account["contract_changes"]:
        told = f"{change['symbol']} {change['term']} was {change['was']}, is {change['shown'] or 'gone'}"
        yield f"account {account['account']}: {told}; see nexus contracts"


def life_cycle(trade: dict[str, Any], events: Sequence[dict[str, Any]]) -> RenderableType:
    """One trade: each step with its time since the order was received, and what came of it."""
    table = Table("after", "step", "detail", title=_order(trade), title_justify="left")
    received_at = datetime.fromisoformat(trade["received_at"])
    for event in events:
        after = datetime.fromisoformat(event["at"]) - received_at
        table.add_row(f"{after.total_seconds() * 1000:.0f} ms", event["kind"], _detail(event["payload"]))
    return Group(table, _outcome(trade))


def _outcome(trade: dict[str, Any]) -> Text:
    outcome = Text.assemble("state ", _state(trade["state"]))
    if trade["average_price"] is not None:
        outcome.append(f", {trade['filled_volume']} lots at {trade['average_price']}")
    if trade["reason"] is not None:
        outcome.append(f", {trade['reason']}")
    for denial in trade["denials"]:
        outcome.append(f"\n  {denial['gate']}: {denial['message']}")
    return outcome


def _detail(payload: dict[str, Any]) -> str:
    """The few facts of a step that a person looks for; the whole is in the API's answer."""
    told = []
    if claim := payload.get("claim"):
        told.append(f"holds {claim['loss']} of loss, {claim['margin']} of margin {payload['currency']}")
    if fill := payload.get("fill"):
        told.append(f"{fill['volume']} at {fill['price']}, deal {fill['ticket']}, commission {fill['commission']}")
    if "broker_order_id" in payload:
        told.append(f"broker's order {payload['broker_order_id']}")
    if quote := payload.get("quote"):
        told.append(f"quote {quote['bid']} / {quote['ask']}")
    if "from" in payload:
        told.append(f"{payload['from']} to {payload['to']}")
    told += [str(payload[name]) for name in ("reason", "intent") if payload.get(name)]
    return ", ".join(told)


def _order(trade: dict[str, Any]) -> str:
    price = "market" if trade["price"] is None else trade["price"]
    return f"{trade['side'].upper()} {trade['volume']} {trade['symbol']} @ {price}"


def _state(state: str) -> Text:
    return Text(state, style=STATE_STYLES.get(state, ""))


def _or_dash(value: str | None) -> str:
    return "-" if value is None else value


def _ago(age_ms: int | None) -> str:
    return "never" if age_ms is None else f"{age_ms / 1000:.1f} s ago"
