"""What `up` says once everything runs: where things are, who may enter, and a first trade to send."""

import asyncio
import json
import secrets
from collections.abc import Sequence

from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stack.demo_account import ACCOUNT, ACCOUNT_CURRENCY
from stack.errors import StackError
from stack.logs import Foreground
from stack.programs import Plan
from stack.rest import DEMO_TRADER, DEMO_TRADER_SECRET, log_in
from stack.seeding import Credential


async def welcome(plan: Plan, credentials: Sequence[Credential], foreground: Foreground) -> None:
    """Print the closing lines of a start; `credentials` are those made by this very start."""
    foreground.print(Panel(_addresses(plan), title="Nexus is running", border_style="green", expand=False))
    foreground.print(_who_may_enter(credentials))
    if credentials:
        foreground.say(
            f"First limits of account {ACCOUNT}: daily loss {plan.daily_loss_limit:,} {ACCOUNT_CURRENCY}, "
            f"position size {plan.position_size_max:,} {ACCOUNT_CURRENCY}"
        )
    try:
        first_trade = await _first_trade(plan)
    except StackError as error:
        # Somebody changed the password elsewhere or shut the demo trader out: no reason to end a running stack.
        foreground.say(f"The demo trader cannot log in ({error}); `nexus user password {DEMO_TRADER}` helps.")
        return
    foreground.print(Text("A first trade, to paste into another terminal:", style="bold"))
    # Unwrapped: a line broken by the terminal's width would not paste.
    foreground.print(Text(first_trade), soft_wrap=True)
    foreground.print(Text("`nexus status` prints one with a fresh token. Ctrl-C ends the stack.", style="dim"))


def curl_line(api_url: str, token: str) -> str:
    """A line for the shell that sends a market order with the token and shows the answer and its status."""
    order = {
        "symbol": "EURUSD",
        "side": "buy",
        "volume": "0.10",
        "type": "market",
        # Sent twice, the line answers with the first trade; the next line printed makes another one.
        "client_order_id": f"curl-{secrets.token_hex(4)}",
    }
    words = (
        rf"curl -sS -w '\n%{{http_code}}\n' -X POST {api_url}/api/trading/execute",
        "-H 'Content-Type: application/json'",
        f"-H 'Authorization: Bearer {token}'",
        f"-d '{json.dumps(order)}'",
    )
    return " ".join(words)


async def _first_trade(plan: Plan) -> str:
    password = plan.secrets.read_or_make(DEMO_TRADER_SECRET)
    token = await asyncio.to_thread(log_in, plan.api_url, username=DEMO_TRADER, password=password)
    return curl_line(plan.api_url, token)


def _addresses(plan: Plan) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("REST API", f"{plan.api_url}/docs")
    table.add_row("Temporal Web UI", plan.temporal_ui_url)
    table.add_row("PostgreSQL", f"127.0.0.1:{plan.ports.postgres}, database nexus")
    table.add_row("Logs", str(plan.state.logs))
    return table


def _who_may_enter(credentials: Sequence[Credential]) -> RenderableType:
    if not credentials:
        return Text("Passwords were shown at the first start; `nexus user password NAME` sets a new one.")
    table = Table(title="Shown this once", title_justify="left", title_style="bold yellow")
    for column in ("user", "role", "password"):
        table.add_column(column)
    for credential in credentials:
        table.add_row(credential.username, credential.role, credential.password)
    return table
