"""Row 1: a market order, from its receipt to filled, booked and settled, one at a time.

Rounds are interleaved and begin with another way each time, so that whatever else the machine does falls on all of
them alike. Positions are closed between rounds, off the clock, so that every order meets the same small book.
"""

from collections.abc import Sequence
from decimal import Decimal

from benchmarks.samples import Samples
from benchmarks.waiting import until
from benchmarks.ways import MarketOrder, Way
from domain.money import Lots
from domain.orders import Side

SYMBOL = "EURUSD"
VOLUME = Lots(Decimal("0.01"))
WARM_UP = 5


async def compare_trades(ways: Sequence[Way], *, trades: int, rounds: int) -> list[Samples]:
    """Time `trades` orders in each way, spread over the rounds."""
    taken = {way.name: Samples(name=way.name) for way in ways}
    for way in ways:
        await _turn(way, "warm-up", count=min(WARM_UP, trades), samples=Samples(name="warm-up"))
    for number in range(rounds):
        count = trades * (number + 1) // rounds - trades * number // rounds
        shift = number % len(ways)
        for way in (*ways[shift:], *ways[:shift]):
            await _turn(way, f"round-{number}", count=count, samples=taken[way.name])
    return list(taken.values())


async def _turn(way: Way, name: str, *, count: int, samples: Samples) -> None:
    samples.begin_round()
    await way.begin_turn()
    try:
        opened = []
        for index in range(count):
            order = MarketOrder(
                client_order_id=f"{name}-{index}",
                symbol=SYMBOL,
                side=Side.BUY if index % 2 == 0 else Side.SELL,
                volume=VOLUME,
            )
            position = await samples.time(way.place(order))
            opened.append((order.side, position))
        await _close(way, name, opened)
    finally:
        await way.end_turn()


async def _close(way: Way, name: str, opened: Sequence[tuple[Side, int]]) -> None:
    """Close what the turn opened; on a hedging account a position has the number of its order."""
    await until(lambda: _shows(way, len(opened)), what=f"{len(opened)} positions in the books")
    for side, position in opened:
        order = MarketOrder(
            client_order_id=f"{name}-close-{position}",
            symbol=SYMBOL,
            side=side.opposite,
            volume=VOLUME,
            position_id=position,
        )
        await way.place(order)
    await until(lambda: _shows(way, 0), what="an empty book")


async def _shows(way: Way, count: int) -> bool:
    return await way.open_positions() == count
