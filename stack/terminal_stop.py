"""The stop of last resort: at the terminal itself, without books and without Temporal.

1. It goes in under a lease of its own, newer than any: the process that served the terminal is ended, and the
   simulated terminal and our bridge refuse what still comes under an older one.
2. Nothing of it is written to the books. The feed books what it did once the workers run again.
3. It says flat only when the terminal's own list shows nothing that it was to close.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from brokers.mt5.adapter import Mt5Broker, open_broker
from brokers.protocol import CommandDone, MarketReading
from domain.errors import PipelineError
from domain.magics import MAGIC_MIN, is_ours
from domain.money import Price
from domain.orders import Accepted, BrokerOrder, OrderRequest, OrderType, Quote, TimeInForce
from domain.positions import BrokerPosition
from settings import BrokerSettings
from stack.errors import StackError

ROUNDS_MAX = 5
PAUSE_SECONDS = 0.5
CLOSE_WITHIN = timedelta(seconds=30)
# Whatever the market does meanwhile, the position is to be closed.
COLLAR_POINTS = 10_000_000

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be ended: working orders, positions, of ours or of `everything`."""

    flatten: bool
    cancel: bool
    everything: bool


async def stop_at_terminal(settings: BrokerSettings, wanted: Wanted, *, tell: Tell) -> list[str]:
    """Cancel and close at the terminal; what is left there of what was to be ended, in words."""
    tell("nothing of this is written to the books, and the latch is NOT set: keep the workers down")
    broker = _broker(settings)
    try:
        await broker.connect()
        left = await _round(broker, wanted, tell=tell)
        for _ in range(ROUNDS_MAX - 1):
            if not left:
                break
            await asyncio.sleep(PAUSE_SECONDS)
            left = await _round(broker, wanted, tell=tell)
        await _tell_end(broker, wanted, left, tell=tell)
    except PipelineError as error:
        raise StackError(f"the terminal: {error}") from error
    else:
        return left
    finally:
        await broker.close()


async def _round(broker: Mt5Broker, wanted: Wanted, *, tell: Tell) -> list[str]:
    """End what is there; what the terminal shows of it afterwards."""
    reading = await _read(broker)
    orders, positions = _covered(reading, wanted)
    await _cancel(broker, orders, tell=tell)
    await _close(broker, reading, positions, tell=tell)
    orders, positions = _covered(await _read(broker), wanted)
    return [*(_order(order) for order in orders), *(_position(position) for position in positions)]


def _broker(settings: BrokerSettings) -> Mt5Broker:
    return open_broker(
        terminal=settings.terminal.value,
        path=settings.terminal_path,
        login=settings.login,
        password=settings.password,
        server=settings.server,
        server_zone=settings.server_zone,
        call_deadline=settings.call_deadline,
        lock_file=settings.terminal_lock,
        # Leases count by the clock, so this one is newer than that of any sender.
        lease_number=int(time.time()) + 1,
    )


async def _read(broker: Mt5Broker) -> MarketReading:
    now = datetime.now(UTC)
    first = await broker.read_market((), deals_since=now)
    symbols = tuple(sorted({position.symbol for position in first.positions}))
    return await broker.read_market(symbols, deals_since=now) if symbols else first


def _covered(reading: MarketReading, wanted: Wanted) -> tuple[Sequence[BrokerOrder], Sequence[BrokerPosition]]:
    """What is to be ended: ours by its number, or all that is there."""
    return (
        [order for order in reading.orders if wanted.cancel and (wanted.everything or is_ours(order.magic))],
        [each for each in reading.positions if wanted.flatten and (wanted.everything or is_ours(each.magic))],
    )


async def _cancel(broker: Mt5Broker, orders: Sequence[BrokerOrder], *, tell: Tell) -> None:
    for order in orders:
        outcome = await broker.cancel(order.broker_order_id)
        tell(f"{_order(order)}: {'cancelled' if isinstance(outcome, CommandDone) else outcome.reason}")


async def _close(
    broker: Mt5Broker, reading: MarketReading, positions: Sequence[BrokerPosition], *, tell: Tell
) -> None:
    quotes = {quote.symbol: quote for quote in reading.quotes}
    for position in positions:
        quote = quotes.get(position.symbol)
        if quote is None:
            tell(f"{_position(position)}: the terminal has no price for it")
            continue
        outcome = await broker.submit(_request(position, quote))
        tell(f"{_position(position)}: {'closed' if isinstance(outcome, Accepted) else outcome.reason}")


def _request(position: BrokerPosition, quote: Quote) -> OrderRequest:
    now = datetime.now(UTC)
    return OrderRequest(
        # Below the numbers of trades: no trade has it, and the feed books the close without waiting for one.
        magic=1 + secrets.randbelow(MAGIC_MIN - 1),
        symbol=position.symbol,
        side=position.side.opposite,
        order_type=OrderType.MARKET,
        volume=position.volume,
        time_in_force=TimeInForce.GTC,
        price=None,
        stop_limit_price=None,
        stop_loss=None,
        take_profit=None,
        expires_at=None,
        position_id=position.position_id,
        reference_price=Price(Decimal(quote.to_close(position.side))),
        collar_points=COLLAR_POINTS,
        since=now,
        submit_by=now + CLOSE_WITHIN,
        comment="stop",
    )


async def _tell_end(broker: Mt5Broker, wanted: Wanted, left: Sequence[str], *, tell: Tell) -> None:
    for line in left:
        tell(f"still there: {line}")
    if not left:
        tell("flat: the terminal shows nothing left" if wanted.flatten else "no working order is left")
    if not wanted.everything:
        for position in (await _read(broker)).positions:
            if not is_ours(position.magic):
                tell(f"left alone: {_position(position)}, which is not ours")


def _order(order: BrokerOrder) -> str:
    return f"order {order.broker_order_id}, {order.side or 'close by'} {order.remaining} {order.symbol}"


def _position(position: BrokerPosition) -> str:
    return f"position {position.position_id}, {position.side} {position.volume} {position.symbol}"
