"""Row 3: the stop, from the press to the latch, to being in force, and to a broker that shows flat."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.direct import ACTOR, Direct
from benchmarks.embedded import Embedded
from benchmarks.samples import Samples
from benchmarks.trades import SYMBOL, VOLUME
from benchmarks.waiting import until
from benchmarks.ways import BenchFailed, MarketOrder
from db import stops
from domain.controls import ControlScope
from domain.orders import Side
from stack.rest import find_caller

POSITIONS = 10
_LATCH = """
    WITH locked AS (SELECT 1 FROM trading_control WHERE scope = 'all' FOR UPDATE)
    INSERT INTO audit_log (actor, action, subject, detail)
    SELECT $1, 'bench.latched', 'control:all', '{}' FROM locked
"""


@dataclass(frozen=True, kw_only=True)
class Stops:
    """`answered` is the request until its answer, the latch committed; the others count from the request as well.

    The floors: the least SQL that latches under the lock, and the same closes made one after the other without
    Temporal and HTTP.
    """

    answered: Samples = field(default_factory=lambda: Samples(name="request to latch"))
    in_force: Samples = field(default_factory=lambda: Samples(name="request to in force"))
    flat: Samples = field(default_factory=lambda: Samples(name=f"request to flat, {POSITIONS} positions"))
    latch_floor: Samples = field(default_factory=lambda: Samples(name="bare SQL"))
    flat_floor: Samples = field(default_factory=lambda: Samples(name=f"{POSITIONS} closes, called directly"))

    @property
    def all(self) -> tuple[Samples, ...]:
        return self.answered, self.in_force, self.flat, self.latch_floor, self.flat_floor


@dataclass(kw_only=True)
class Presser:
    """A trader who opens positions over REST, stops their own trading, and is let go on by the books' owner."""

    api: httpx.AsyncClient
    owner: AsyncEngine
    user_id: str
    numbers: int = 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    async def open(self, count: int) -> None:
        for _ in range(count):
            body = {
                "client_order_id": f"stop-open-{self.number()}",
                "symbol": SYMBOL,
                "side": "buy",
                "type": "market",
                "volume": str(VOLUME),
            }
            answer = await self.api.post("/api/trading/execute", json=body)
            if answer.status_code != httpx.codes.CREATED or answer.json()["state"] != "filled":
                raise BenchFailed(f"{answer.status_code} {answer.text}")

    async def press(self) -> dict[str, Any]:
        body = {
            "client_order_id": f"stop-press-{self.number()}",
            "scope": "user",
            "scope_id": self.user_id,
            "flatten": True,
            "reason": "bench",
            "wait_ms": 0,
        }
        answer = await self.api.post("/api/system/emergency-stop", json=body)
        if answer.status_code != httpx.codes.CREATED:
            raise BenchFailed(f"{answer.status_code} {answer.text}")
        told: dict[str, Any] = answer.json()
        return told

    async def ended(self, stop_id: str) -> dict[str, Any]:
        told: dict[str, Any] = {}

        async def has_ended() -> bool:
            told.update((await self.api.get(f"/api/system/stops/{stop_id}")).json())
            return told["ended_at"] is not None

        await until(has_ended, what="the stop to end", timeout_seconds=60)
        if told["flat_at"] is None:
            raise BenchFailed(f"stop {stop_id} ended and nothing says flat: {told['certificate']}")
        return told

    async def resume(self) -> None:
        async with self.owner.begin() as connection:
            await stops.resume(connection, ControlScope.USER, self.user_id, actor=ACTOR, reason="the next round")


async def measure_stops(presser: Presser, desk: Direct, *, bare_url: str, count: int, rounds: int) -> Stops:
    """Interleave rounds of stops and of their floors."""
    taken = Stops()
    await desk.begin_turn()
    try:
        async with asyncpg.create_pool(bare_url, min_size=1, max_size=1) as pool:
            for _ in range(rounds):
                for samples in taken.all:
                    samples.begin_round()
                for _ in range(count):
                    await _stop(presser, taken)
                    await taken.latch_floor.time(pool.execute(_LATCH, ACTOR))
                    await _close_directly(desk, taken, number=presser.number())
    finally:
        await desk.end_turn()
    return taken


async def _stop(presser: Presser, taken: Stops) -> None:
    await presser.open(POSITIONS)
    told = await taken.answered.time(presser.press())
    told = await presser.ended(told["id"])
    asked = datetime.fromisoformat(told["requested_at"])
    for samples, instant in ((taken.in_force, "in_force_at"), (taken.flat, "flat_at")):
        samples.add((datetime.fromisoformat(told[instant]) - asked).total_seconds() * 1000)
    await presser.resume()


async def _close_directly(desk: Direct, taken: Stops, *, number: int) -> None:
    held = [
        await desk.place(
            MarketOrder(client_order_id=f"floor-{number}-{n}", symbol=SYMBOL, side=Side.BUY, volume=VOLUME)
        )
        for n in range(POSITIONS)
    ]

    async def shown() -> bool:
        return await desk.open_positions() == len(held)

    await until(shown, what="the positions of the floor")
    loop = asyncio.get_running_loop()
    began = loop.time()
    for position in held:
        await desk.place(
            MarketOrder(
                client_order_id=f"floor-close-{position}",
                symbol=SYMBOL,
                side=Side.SELL,
                volume=VOLUME,
                position_id=position,
            )
        )
    taken.flat_floor.add((loop.time() - began) * 1000)


@asynccontextmanager
async def presser_of(embedded: Embedded) -> AsyncIterator[Presser]:
    caller = find_caller(embedded.plan.state, url=None, token=None)
    owner = embedded.engine("owner", pool_size=1)
    headers = {"Authorization": f"Bearer {caller.token}"}
    async with httpx.AsyncClient(base_url=caller.url, headers=headers, timeout=30, trust_env=False) as api:
        try:
            profile = (await api.get("/api/auth/profile")).json()
            yield Presser(api=api, owner=owner, user_id=profile["id"])
        finally:
            await owner.dispose()
