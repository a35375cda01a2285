import asyncio

from brokers.mt5.turns import Lane, Turns


async def take(turns: Turns, lane: Lane, order: list[str], name: str) -> None:
    await turns.enter(lane)
    order.append(name)
    turns.leave()


async def test_the_urgent_lane_goes_first_and_arrival_decides_within_it() -> None:
    turns = Turns()
    await turns.enter(Lane.READ)
    order: list[str] = []
    names = [("r1", Lane.READ), ("s1", Lane.SEND), ("r2", Lane.READ), ("x1", Lane.STOP), ("s2", Lane.SEND)]
    tasks = [asyncio.create_task(take(turns, lane, order, name)) for name, lane in names]
    await asyncio.sleep(0)
    turns.leave()
    await asyncio.gather(*tasks)
    assert order == ["x1", "s1", "s2", "r1", "r2"]
    assert turns.holder is None


async def test_a_turn_given_to_a_caller_who_left_goes_to_the_next() -> None:
    turns = Turns()
    await turns.enter(Lane.READ)
    order: list[str] = []
    leaving = asyncio.create_task(take(turns, Lane.STOP, order, "left"))
    staying = asyncio.create_task(take(turns, Lane.READ, order, "stayed"))
    await asyncio.sleep(0)
    turns.leave()
    leaving.cancel()
    await asyncio.gather(leaving, staying, return_exceptions=True)
    assert order == ["stayed"]
    assert turns.holder is None
