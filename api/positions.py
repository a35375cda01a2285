"""Open positions with what they are worth now, and how old that is."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter

from api.dependencies import CallerDep, ConnectionsDep
from api.fields import DecimalText
from api.trades import scope_of
from api.views import View, age_ms
from db.listings import list_positions
from domain.orders import Side

router = APIRouter(prefix="/api/trading", tags=["trading"])


class PositionQuote(View):
    """The newest quote of the symbol; `at` is the broker's instant, the age counts from when we read it.

    `close_price` is the side of it at which the position would be closed.
    """

    bid: DecimalText
    ask: DecimalText
    close_price: DecimalText
    at: datetime
    read_at: datetime
    age_ms: int


class Opener(View):
    """The lots of a position that are still open of one trade; without a trade, of no order of ours."""

    trade_id: UUID | None
    user_id: UUID | None
    username: str | None
    client_order_id: str | None
    volume: DecimalText
    opened_at: datetime


class Position(View):
    """As the broker showed it at `read_at`; money is in `currency`.

    `price_open` is the average price of its lots. `floating` is `profit`, which is without `swap`, and `swap`
    together; `realised` is everything booked under the position so far, commissions included. `trade_id` and
    `user_id` are of the order that opened it, `openers` of all that have open lots in it, as booked.
    """

    position_id: int
    ticket: int
    account: str
    currency: str
    trade_id: UUID | None
    user_id: UUID | None
    openers: list[Opener]
    magic: int
    symbol: str
    side: Side
    volume: DecimalText
    price_open: DecimalText
    price_current: DecimalText
    stop_loss: DecimalText | None
    take_profit: DecimalText | None
    swap: DecimalText
    profit: DecimalText
    floating: DecimalText
    realised: DecimalText
    opened_at: datetime
    updated_at: datetime
    read_at: datetime
    age_ms: int
    quote: PositionQuote | None


class AccountSnapshot(View):
    """The account as it was last read; everything is null while it never was."""

    account: str
    currency: str
    balance: DecimalText | None
    credit: DecimalText | None
    equity: DecimalText | None
    margin: DecimalText | None
    margin_free: DecimalText | None
    connected: bool | None
    trade_allowed: bool | None
    read_at: datetime | None
    age_ms: int | None


class Positions(View):
    """An account without positions is flat only as of its `read_at`."""

    positions: list[Position]
    accounts: list[AccountSnapshot]


@router.get("/positions")
async def positions(connected: ConnectionsDep, caller: CallerDep) -> Positions:
    """Your open positions, and those on your accounts that no order of ours opened."""
    found = await connected.books.read(lambda connection: list_positions(connection, user_id=scope_of(caller)))
    now = datetime.now(UTC)
    return Positions(
        positions=[Position.model_validate(aged(row, now=now)) for row in found["positions"]],
        accounts=[AccountSnapshot.model_validate(aged(row, now=now)) for row in found["accounts"]],
    )


def aged(row: dict[str, Any], *, now: datetime) -> dict[str, Any]:
    """The row with `age_ms` since its `read_at`, and its quote likewise; null if it was never read."""
    read_at = row["read_at"]
    age = None if read_at is None else age_ms(datetime.fromisoformat(read_at), now=now)
    quote = row.get("quote")
    return {**row, "age_ms": age, "quote": None if quote is None else aged(quote, now=now)}
