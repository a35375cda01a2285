"""`nexus trade`, `trades`, `positions` and `stuck`: trading through the REST API, as any client would."""

import secrets
import time
from typing import Annotated, Any

import httpx
import typer

from domain.orders import OrderState, OrderType, Side
from stack.options import StateDirOption, TokenOption, UrlOption, caller
from stack.rest import Caller, client
from stack.show import life_cycle, positions_tables, screen, trades_table

MOVING_STATES = frozenset({OrderState.PENDING, OrderState.PARTIALLY_FILLED, OrderState.UNRESOLVED})
REFUSED_STATES = frozenset({OrderState.DENIED, OrderState.REJECTED})
POLL_SECONDS = 0.25

app = typer.Typer()


@app.command()
def trade(  # noqa: PLR0913 - each argument is an option of the command
    side: Annotated[Side, typer.Argument(help="buy or sell.")],
    volume: Annotated[str, typer.Argument(help="Lots, as 0.10.")],
    symbol: Annotated[str, typer.Argument(help="As the broker names it, as EURUSD.")],
    *,
    order_type: Annotated[OrderType, typer.Option("--type", help="Kind of order.")] = OrderType.MARKET,
    price: Annotated[str | None, typer.Option(help="Price of a limit, stop or stop-limit order.")] = None,
    stop_limit_price: Annotated[str | None, typer.Option(help="Limit price of a stop-limit order.")] = None,
    stop_loss: Annotated[str | None, typer.Option("--stop-loss", "--sl", help="Price of the stop loss.")] = None,
    take_profit: Annotated[
        str | None, typer.Option("--take-profit", "--tp", help="Price of the take profit.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="Slug of the account; the only one if left out.")] = None,
    client_order_id: Annotated[
        str | None, typer.Option("--id", help="Your id: sent twice, it is one trade.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait while the trade moves.")] = 5.0,
    state_dir: StateDirOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Send an order and show its life; exits with 1 when it was denied or rejected."""
    body = {
        "symbol": symbol,
        "side": side,
        "volume": volume,
        "type": order_type,
        "price": price,
        "stop_limit_price": stop_limit_price,
        "stop_loss": stop_loss,
        "take_profit": take_profit,
        "account": account,
        "client_order_id": client_order_id or f"cli-{secrets.token_hex(8)}",
    }
    me = caller(state_dir, url, token)
    with client(me.url, me.token) as api:
        answer = api.post("/api/trading/execute", json={name: value for name, value in body.items() if value})
        rested = _await_rest(api, answer.json(), wait_seconds=wait)
        events = api.get(f"/api/trading/trades/{rested['id']}/events").json()
    console = screen()
    console.print(life_cycle(rested, events["items"]))
    console.print(rested["links"]["temporal"], soft_wrap=True)
    if OrderState(rested["state"]) in REFUSED_STATES:
        raise typer.Exit(1)


@app.command()
def trades(
    state: Annotated[OrderState | None, typer.Option(help="Only trades in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, the newest first.")] = 20,
    state_dir: StateDirOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """List the newest trades."""
    filters = {"limit": str(limit)} if state is None else {"limit": str(limit), "state": state.value}
    screen().print(trades_table("Trades", _read_trades(caller(state_dir, url, token), filters)))


@app.command()
def stuck(state_dir: StateDirOption = None, url: UrlOption = None, token: TokenOption = None) -> None:
    """List the trades that need a person, each with its link; exits with 1 when there are any."""
    found = _read_trades(caller(state_dir, url, token), {"needs_attention": "true", "limit": "200"})
    console = screen()
    console.print(trades_table("Trades that need a person", found))
    for trade in found:
        console.print(trade["links"]["temporal"], soft_wrap=True)
    if found:
        raise typer.Exit(1)


@app.command()
def positions(state_dir: StateDirOption = None, url: UrlOption = None, token: TokenOption = None) -> None:
    """List the open positions."""
    me = caller(state_dir, url, token)
    with client(me.url, me.token) as api:
        screen().print(positions_tables(api.get("/api/trading/positions").json()))


def _read_trades(me: Caller, filters: dict[str, str]) -> list[dict[str, Any]]:
    with client(me.url, me.token) as api:
        items: list[dict[str, Any]] = api.get("/api/trading/trades", params=filters).json()["items"]
        return items


def _await_rest(api: httpx.Client, trade: dict[str, Any], *, wait_seconds: float) -> dict[str, Any]:
    """The trade once it rests at the broker or is final, or as it is when the time is up."""
    deadline = time.monotonic() + wait_seconds
    while OrderState(trade["state"]) in MOVING_STATES and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        trade = api.get(f"/api/trading/trades/{trade['id']}").json()
    return trade
