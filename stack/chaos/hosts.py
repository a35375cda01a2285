"""The two worker processes of a run, wired as `worker.py` wires them, with everything of theirs that can die."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, cast

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.commands import CommandActivities
from activities.feed import FeedActivities, FollowAccount, Pace
from activities.reserving import Reserving
from activities.sender import Sender
from activities.sends import SenderActivities
from activities.trades import TradeActivities
from brokers.mt5.adapter import Mt5Broker
from db import accounts
from db.accounts import Account, Lease, LeaseHeld
from domain.errors import LeaseLost, PipelineError
from stack.chaos.baton import Baton, Killed, Process
from stack.chaos.books import Books
from stack.chaos.broker_side import ZONE, BrokerSide
from stack.chaos.child import CALL_DEADLINE, ChildWay, Hooks, Machine
from stack.chaos.clock import VirtualClock
from stack.chaos.executions import Worker
from stack.chaos.temporal import Temporal
from worker import check_account
from workflows.queues import PIPELINE, broker_queue

DATA_AGE_MAX = timedelta(seconds=5)
LEASE_TTL = timedelta(seconds=30)
QUIET = timedelta(seconds=10)
FEED_INTERVAL = timedelta(seconds=2)
CALM_FACTOR = 4
RETRY_SECONDS = 1.0
# What only a mistake in the code raises; everything else is weather.
MISTAKES = (AssertionError, AttributeError, KeyError, NameError, TypeError)


@dataclass(eq=False, kw_only=True)
class World:
    """Everything that outlives a process: time, the broker, the server, the books."""

    clock: VirtualClock
    baton: Baton
    temporal: Temporal
    side: BrokerSide
    rng: Random
    slug: str
    engines: Callable[[str], AsyncEngine]
    hooks: Hooks = field(default_factory=Hooks)
    # While set, the feed waits where it is.
    feed_held: bool = False
    # While set, the feed looks less often: nothing is left to do but to see that nothing more comes.
    calm: bool = False
    hosts: "list[PipelineHost | BrokerHost]" = field(default_factory=list)

    def books(self, role: str) -> Books:
        return Books(self.engines(role), self.baton, self.clock)

    def process(self, name: str) -> Process | None:
        return next((host.process for host in self.hosts if host.process.name == name), None)


class PipelineHost:
    def __init__(self, world: World, number: int) -> None:
        self.process = Process(name=f"pipeline-{number}")
        self.replaced = False
        self.books = world.books("pipeline")
        steps = TradeActivities(
            self.books.engine,
            reserving=Reserving(self.books.engine, data_age_max=DATA_AGE_MAX, now=world.clock.now),
            now=world.clock.now,
        )
        self.worker = Worker(process=self.process, queue=PIPELINE, activities=named(steps.activities))
        world.temporal.workers.append(self.worker)

    async def bury(self) -> None:
        """Nothing of it is left behind."""


class BrokerHost:
    def __init__(self, world: World, number: int, machine: Machine) -> None:
        self._world = world
        self._machine = machine
        self.process = Process(name=f"broker-{number}")
        self.replaced = False
        self.books = world.books("broker")
        self.ready = False
        self._way: ChildWay | None = None
        world.baton.start("start broker", self.process, self._serve)

    async def bury(self) -> None:
        """A child dies with its parent."""
        if self._way is not None and self._way.child is not None:
            self._way.child.kill()

    async def _serve(self) -> None:
        world = self._world
        try:
            account, lease = await self._take_lease()
            world.baton.start("keep lease", self.process, lambda: self._keep(lease))
            await self._start(account, lease)
        except (PipelineError, DBAPIError, OSError) as error:
            # The process says why and ends; its supervisor starts another.
            raise Killed(str(error)) from error

    async def _start(self, account: Account, lease: Lease) -> None:
        world = self._world
        self._way = ChildWay(
            side=world.side,
            machine=self._machine,
            clock=world.clock,
            baton=world.baton,
            process=self.process,
            hooks=world.hooks,
            lease_number=lease.number,
        )
        broker = Mt5Broker(self._way, server_zone=ZONE, now=world.clock.now)
        check_account(await broker.connect(), account)
        sender = Sender(
            account=account,
            lease=lease,
            broker=broker,
            wake_feed=asyncio.Event(),
            absence_quiet=QUIET,
            slippage_percent_max=Decimal("0.5"),
            ready_at=world.clock.now(),
        )
        engine = self.books.engine
        feed = FeedActivities(
            engine,
            sender,
            cast("Client", Signals(world.temporal)),
            pace=Pace(interval=FEED_INTERVAL, pause=self._pause),
            now=world.clock.now,
        )
        await feed.read_instruments_now()
        await feed.read_now()
        orders = SenderActivities(engine, sender, now=world.clock.now)
        commands = CommandActivities(engine, sender, data_age_max=DATA_AGE_MAX, now=world.clock.now)
        steps = named([*orders.activities, *commands.activities, *feed.activities])
        world.temporal.workers.append(
            Worker(process=self.process, queue=broker_queue(account.slug), activities=steps)
        )
        world.baton.start("follow", self.process, lambda: self._follow(feed, account.slug))
        self.ready = True

    async def _take_lease(self) -> tuple[Account, Lease]:
        """As `leases.take`, but for a process table that is ours."""
        world = self._world
        while True:
            async with self.books.begin() as connection:
                account = await accounts.read_account(connection, world.slug)
                holder = await accounts.read_lease_holder(connection, world.slug)
                if holder is not None and self._lives_here(holder):
                    raise LeaseLost(f"account {world.slug} is served by process {holder} already; stop it first")
                taken = await accounts.take_lease(
                    connection,
                    world.slug,
                    holder=f"{self._machine.name}:{self.process.name}",
                    terminal=f"{self._machine.name}:simulated",
                    ttl=LEASE_TTL,
                    grace=CALL_DEADLINE + QUIET,
                )
            if isinstance(taken, Lease):
                return account, taken
            await self._wait_for(taken)

    async def _wait_for(self, held: LeaseHeld) -> None:
        seconds = (held.free_at - self._world.clock.now()).total_seconds()
        await self._world.baton.sleep("lease held elsewhere", max(seconds, RETRY_SECONDS))

    def _lives_here(self, holder: str) -> bool:
        machine, _, name = holder.partition(":")
        process = self._world.process(name)
        return machine == self._machine.name and process is not None and process.alive

    async def _keep(self, lease: Lease) -> None:
        while True:
            await self._world.baton.sleep("lease kept", LEASE_TTL.total_seconds() / 3)
            try:
                async with self.books.begin() as connection:
                    await accounts.renew_lease(connection, lease, ttl=LEASE_TTL)
            except (DBAPIError, OSError):
                continue
            except LeaseLost as lost:
                raise Killed(str(lost)) from lost

    async def _follow(self, feed: FeedActivities, slug: str) -> None:
        """The feed's activity, tried again as its workflow would."""
        while True:
            try:
                await ActivityEnvironment().run(feed.follow, FollowAccount(account_slug=slug))
            except MISTAKES as error:
                self._world.baton.defects.append(f"the feed ended by {type(error).__name__}: {error}")
            except (PipelineError, DBAPIError, OSError):
                pass  # weather; the next attempt meets what is left of it
            await self._world.baton.sleep("feed waits for its next attempt", RETRY_SECONDS)

    async def _pause(self, wake: asyncio.Event, interval: timedelta) -> None:
        world = self._world
        seconds = interval.total_seconds() * (CALM_FACTOR if world.calm else 1)
        until = world.clock.seconds() + seconds
        world.clock.call_later(seconds, lambda: None)

        def over() -> bool:
            return (wake.is_set() or world.clock.seconds() >= until) and not world.feed_held

        await world.baton.point("feed pause", over)
        wake.clear()


class Signals:
    """What the feed asks of a Temporal client."""

    def __init__(self, temporal: Temporal) -> None:
        self._temporal = temporal

    def get_workflow_handle(self, workflow_id: str) -> "Handle":
        return Handle(self._temporal, workflow_id)


@dataclass(frozen=True)
class Handle:
    temporal: Temporal
    workflow_id: str

    async def signal(self, name: str) -> None:
        self.temporal.signal(self.workflow_id, name)


def named(steps: list[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    return {activity._Definition.must_from_callable(step).name or "": step for step in steps}  # noqa: SLF001
