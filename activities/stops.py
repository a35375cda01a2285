"""The steps of an emergency stop that need our books alone; each may be repeated without a second effect."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity

from activities.heartbeats import heartbeating
from db import stops
from db.stops import StopProgress
from domain.money import ZERO
from domain.stops import Stop

# A send that has no answer by then hangs in the terminal; it is named, and the stop goes on.
FLIGHT_PATIENCE = timedelta(milliseconds=800)
_LOOK_AGAIN = timedelta(milliseconds=20)


@dataclass(frozen=True, kw_only=True)
class LatchStop:
    stop: Stop


@dataclass(frozen=True, kw_only=True)
class Latched:
    """The accounts on which the stop may have something to do, and how many rounds it has had.

    `over` says that a person has opened trading again, so nothing is done any more.
    """

    accounts: tuple[str, ...]
    round: int
    over: bool


@dataclass(frozen=True, kw_only=True)
class AwaitForce:
    stop: Stop


@dataclass(frozen=True, kw_only=True)
class Force:
    """The sends that had no proven outcome when the stop was in force: named, since they may still execute."""

    named: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CertifyStop:
    """What the broker shows after a round, in words: `remaining` is what the stop has still to end there."""

    stop: Stop
    round: int
    left: tuple[str, ...]
    remaining: tuple[str, ...]
    cancelled: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Certified:
    """`flat` is what the broker shows, with nothing in flight that could change it; `ended` ends the work."""

    flat: bool
    ended: bool
    told: str


class StopActivities:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.latch_stop, self.await_force, self.look_in_flight, self.certify_stop]

    @activity.defn(name="latch_stop")
    async def latch_stop(self, step: LatchStop) -> Latched:
        """Latch the stop unless whoever asked for it has, and say where it works."""
        async with self._engine.begin() as connection:
            progress = await stops.latch(connection, step.stop)
            return Latched(
                accounts=await stops.accounts_of(connection, step.stop),
                round=int(progress.certificate.get("round", 0)),
                over=progress.resumed_at is not None,
            )

    @activity.defn(name="await_force")
    async def await_force(self, step: AwaitForce) -> Force:
        """Wait until every send that was in flight has ended; those that hang are named instead."""
        async with heartbeating():
            unanswered = await self._until_landed(step.stop)
        async with self._engine.begin() as connection:
            # Books that were put back have forgotten the latch; whoever carries the stop on sets it again.
            await stops.latch(connection, step.stop)
            in_flight = await stops.in_flight(connection, step.stop)
            progress = await stops.reach(
                connection, step.stop, "in_force_at", certificate={"in_flight": in_flight}
            )
        named = progress.certificate["in_flight"] if unanswered or in_flight else []
        return Force(named=tuple(_send(row) for row in named))

    @activity.defn(name="certify_stop")
    async def certify_stop(self, step: CertifyStop) -> Certified:
        """Write down what was done and what the broker shows; the certificate grows until the stop has ended."""
        stop = step.stop
        async with self._engine.begin() as connection:
            await stops.latch(connection, stop)
            # What may still execute could open a position behind our back: until its end nothing is flat.
            flying = [f"in flight: {_send(row)}" for row in await stops.in_flight(connection, stop)]
            flying += [f"may still fill: {_send(row)}" for row in await stops.open_trades(connection, stop)]
            remaining = [*step.remaining, *(flying if stop.flatten or stop.cancel_orders else ())]
            flat = stop.flatten and not remaining
            closes = await stops.closes_of(connection, stop.stop_id)
            certificate = {
                "round": step.round,
                "flat": flat,
                "closes": closes,
                "cost": _cost(closes),
                "cancelled": list(step.cancelled),
                "left": list(step.left),
                "remaining": remaining,
                "refused": list(step.refused),
            }
            ended = not remaining
            instants = [*(["flat_at"] if flat else []), *(["ended_at"] if ended else [])]
            progress = await stops.reach(connection, stop, *instants, certificate=certificate)
        return Certified(flat=flat, ended=ended or progress.resumed_at is not None, told=_told(progress))

    @activity.defn(name="look_in_flight")
    async def look_in_flight(self, step: AwaitForce) -> Force:
        """The sends without a proven outcome at this moment: what a sweep from now on may not see."""
        async with self._engine.connect() as connection:
            return Force(named=tuple(_send(row) for row in await stops.in_flight(connection, step.stop)))

    async def _until_landed(self, stop: Stop) -> bool:
        """Whether something still has no answer when patience ends."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + FLIGHT_PATIENCE.total_seconds()
        while True:
            async with self._engine.connect() as connection:
                flying = [row for row in await stops.in_flight(connection, stop) if row["outcome"] is None]
            if not flying or loop.time() >= ends_at:
                return bool(flying)
            await asyncio.sleep(_LOOK_AGAIN.total_seconds())


def _cost(closes: list[dict[str, Any]]) -> dict[str, str]:
    """What the closes brought, by currency: negative is what flattening cost."""
    sums: dict[str, Decimal] = {}
    for close in closes:
        sums[close["currency"]] = sums.get(close["currency"], ZERO) + Decimal(close["cash"])
    return {currency: format(amount, "f") for currency, amount in sums.items()}


def _send(row: dict[str, Any]) -> str:
    return f"{row['side']} {row['volume']} {row['symbol']} on {row['account']}, trade {row['trade_id']}"


def _told(progress: StopProgress) -> str:
    certificate = progress.certificate
    if progress.resumed_at is not None:
        return "trading was opened again"
    if not progress.stop.flatten:
        return "in force"
    if certificate.get("flat"):
        return f"flat after {len(certificate.get('closes', []))} closes"
    return f"{len(certificate.get('remaining', []))} still open"
