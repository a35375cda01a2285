"""One seeded run: a trade, the blow of its cell, sometimes foul weather, and the verdict when all is quiet.

Everything that is left to chance is drawn from the seed, and nothing depends on the time of day or on how fast the
machine is, so that the same seed is the same run.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from uuid import UUID

from brokers.simulator.account import MarginMode as TerminalMarginMode
from brokers.simulator.chaos import Chaos
from brokers.simulator.faults import ClockStepped
from brokers.simulator.records import Deal, Order
from db.seed import NewAccount, let_trade, seed_account
from db.users import NewUser, Role, add_user
from domain.positions import MarginMode
from stack.chaos.baton import Baton, Turn
from stack.chaos.blows import Blows
from stack.chaos.broker_side import LOGIN, SERVER_NAME, BrokerSide
from stack.chaos.cells import Blow, Cell, cell_of
from stack.chaos.child import Machine
from stack.chaos.clock import VirtualClock
from stack.chaos.executions import Execution
from stack.chaos.hosts import BrokerHost, PipelineHost, World
from stack.chaos.judgement import Judgement
from stack.chaos.scenes import Story
from stack.chaos.temporal import Temporal
from stack.chaos.verdicts import (
    Fault,
    Violation,
)
from stack.scratch import Database

# A Monday at noon in London, so that sessions are open and a run of minutes crosses no day.
BEGINNING = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
RESTART_SECONDS = 1.0
READY_SECONDS = 120.0
STORM_SECONDS = 40.0
DECIDED_WITHIN_SECONDS = 120.0
WITHDRAWALS_MAX = 4
QUIET_WITHIN_SECONDS = 600.0
# Longer than what hides a record, and than the feed takes from one reading of all records to the next when calm.
CALM_SECONDS = 45.0
STEPS_MAX = 60_000
STORM_RATES = {
    "answer_lost": 0.04,
    "delay": 0.05,
    "done_later": 0.04,
    "hang": 0.02,
    "history_lag": 0.05,
    "link_lost": 0.02,
    "list_gap": 0.05,
    "no_link": 0.02,
    "partial": 0.04,
    "placed": 0.06,
    "query_failure": 0.01,
    "reject": 0.04,
    "stop_out": 0.01,
    "terminal_restarted": 0.02,
    "timeout": 0.04,
}
STORM_KILL_SHARE = 0.002


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`struck` says whether the cell's blow was dealt; a run that never came to its step proves less."""

    seed: int
    cell: Cell
    struck: bool
    states: tuple[str, ...]
    violations: tuple[Violation, ...]
    trace: tuple[str, ...]


class Rehearsal:
    def __init__(self, seed: int, database: Database, *, broken_before: AbstractSet[str]) -> None:
        self._seed = seed
        self._database = database
        self._broken_before = broken_before
        self._rng = Random(f"rehearsal:{seed}")  # noqa: S311  # repeatable, not secret
        self._cell = cell_of(seed)
        self._trace: list[str] = []
        self._host_numbers = iter(range(1, 10_000))
        self._machine = Machine(name="desk")
        clock = VirtualClock(BEGINNING)
        baton = Baton(clock)
        netting = self._rng.random() < 0.25
        self._margin_mode = MarginMode.NETTING if netting else MarginMode.HEDGING
        self._world = World(
            clock=clock,
            baton=baton,
            temporal=Temporal(baton, clock, self._rng),
            side=BrokerSide(clock, seed=seed, margin_mode=TerminalMarginMode(self._margin_mode.value)),
            rng=self._rng,
            slug=f"seed-{seed}",
            engines=database.engine,
        )
        self._blows = Blows(self._world, self._cell, self._rng)
        self._storm = False
        self._copy_wanted = False
        baton.watch(self._reached)

    async def run(self) -> Outcome:
        try:
            return await self._run()
        finally:
            for host in self._world.hosts:
                await self._world.baton.kill(host.process)
            self._world.side.close()

    async def _run(self) -> Outcome:
        world = self._world
        account_id, user_id = await self._seed_account()
        self._open_pipeline()
        self._open_broker()
        await self._until(self._ready, within_seconds=READY_SECONDS)
        story = Story(world, account_id=account_id, user_id=user_id, until=self._until, arm=self._arm)
        if self._rng.random() < 0.4:
            self._begin_storm()
        await story.play(self._cell)
        await self._until(lambda: self._storm_over(story), within_seconds=STORM_SECONDS)
        self._clear()
        for _ in range(WITHDRAWALS_MAX):
            if await self._until(lambda: not story.open and self._ready(), within_seconds=DECIDED_WITHIN_SECONDS):
                break
            story.withdraw()
        world.calm = True
        await self._until(lambda: False, within_seconds=CALM_SECONDS)
        await self._until(self._quiet, within_seconds=QUIET_WITHIN_SECONDS)
        return await self._judge(account_id)

    def _arm(self) -> None:
        self._blows.armed = True
        self._copy_wanted = self._cell.blow is Blow.RESTORED

    def _begin_storm(self) -> None:
        self._storm = True
        self._world.side.terminal.faults.chaos = Chaos(self._seed, STORM_RATES)

    def _storm_over(self, story: Story) -> bool:
        return self._blows.struck and not story.open

    def _clear(self) -> None:
        """From here on nothing new goes wrong; what is wrong already has to be got over."""
        world = self._world
        self._storm = self._blows.armed = False
        world.feed_held = False
        terminal = world.side.terminal
        terminal.faults.clear()
        if terminal.clock.shift_msc:
            hours = -round(terminal.clock.shift_msc / 3_600_000)
            terminal.happenings.play(ClockStepped(hours=hours))
        terminal.switches.trade_allowed = True
        terminal.switches.tradeapi_disabled = False

    def _ready(self) -> bool:
        hosts = [host for host in self._world.hosts if host.process.alive and not host.process.frozen]
        return any(isinstance(host, BrokerHost) and host.ready for host in hosts)

    def _quiet(self) -> bool:
        """The broker owes nothing more, and a feed is there to see what it did."""
        return self._ready() and self._world.side.terminal.next_due_utc_msc() is None

    def _reached(self, turn: Turn) -> None:
        self._trace.append(f"{self._world.clock.now():%H:%M:%S.%f} {turn.process.name} {turn.step}: {turn.at}")
        self._blows.reached(turn)
        if self._storm and self._rng.random() < STORM_KILL_SHARE:
            self._trace.append(f"{turn.process.name} is killed by the storm")
            turn.process.alive = False

    async def _until(self, done: Callable[[], bool], *, within_seconds: float) -> bool:
        """Let the world go on until it is done or the time is up; says which."""
        world = self._world
        end = world.clock.seconds() + within_seconds
        for _ in range(STEPS_MAX):
            await self._bury()
            self._reset_if_wanted()
            await self._put_back_if_wanted()
            await world.temporal.dispatch()
            if done():
                return True
            turns = world.baton.runnable()
            if turns:
                await world.baton.give(self._rng.choice(turns))
            elif world.clock.seconds() >= end:
                return False
            else:
                world.clock.advance_to_next()
            if world.clock.seconds() >= end:
                return False
        world.baton.defects.append(f"no end after {STEPS_MAX} steps")
        return False

    async def _bury(self) -> None:
        """Take away what a dead process leaves, tell the server's clock, and have the supervisor start another."""
        for host in [host for host in self._world.hosts if not host.process.alive]:
            self._trace.append(f"{host.process.name} is dead")
            self._world.temporal.silenced(host.process)
            await self._world.baton.kill(host.process)
            await host.bury()
            self._world.hosts.remove(host)
            again = self._open_pipeline if isinstance(host, PipelineHost) else self._open_broker
            self._world.clock.call_later(RESTART_SECONDS, again)
        for host in self._world.hosts:
            if host.process.frozen and not host.replaced:
                host.replaced = True
                again = self._open_pipeline if isinstance(host, PipelineHost) else self._open_elsewhere
                self._world.clock.call_later(RESTART_SECONDS, again)

    def _reset_if_wanted(self) -> None:
        if self._blows.reset_wanted:
            self._blows.reset_wanted = False
            execution = list(self._world.temporal.executions.values())[-1]
            if not execution.closed:
                self._world.temporal.reset(execution)

    async def _put_back_if_wanted(self) -> None:
        """Copy the books when the blow is armed, and put the copy back when it falls, with nobody connected."""
        if self._copy_wanted:
            self._copy_wanted = False
            await self._database.keep_copy()
        if self._blows.restore_wanted:
            self._blows.restore_wanted = False
            for host in self._world.hosts:
                host.process.alive = False
            await self._bury()
            await self._database.put_back()
            # As docs/decisions/0006 asks of an operator: what had ended meanwhile is carried out again.
            for execution in list(self._world.temporal.executions.values()):
                if execution.closed:
                    self._world.temporal.reset(execution)

    def _open_pipeline(self) -> None:
        self._world.hosts.append(PipelineHost(self._world, next(self._host_numbers)))

    def _open_broker(self) -> None:
        if not any(
            isinstance(h, BrokerHost) and h.process.alive and not h.process.frozen for h in self._world.hosts
        ):
            self._world.hosts.append(BrokerHost(self._world, next(self._host_numbers), self._machine))

    def _open_elsewhere(self) -> None:
        """Somebody takes the silent worker for dead, and starts one on this machine or on another."""
        if self._rng.random() < 0.5:
            self._machine = Machine(name=f"{self._machine.name}-other")
        self._open_broker()

    async def _seed_account(self) -> tuple[UUID, UUID]:
        user_id = UUID(int=self._rng.getrandbits(128))
        async with self._world.books("owner").begin() as connection:
            account_id = await seed_account(
                connection,
                NewAccount(
                    slug=self._world.slug,
                    currency="USD",
                    margin_mode=self._margin_mode,
                    leverage=100,
                    login=LOGIN,
                    server=SERVER_NAME,
                    day_zone="Europe/Athens",
                    daily_loss_limit=Decimal(20_000),
                    position_size_max=Decimal(1_000_000),
                ),
            )
            new = NewUser(id=user_id, username=self._world.slug, password_hash="unused", role=Role.TRADER)  # noqa: S106
            await add_user(connection, new, actor="rehearsal")
            await let_trade(connection, account=account_id, user_id=user_id)
        return account_id, user_id

    async def _judge(self, account_id: UUID) -> Outcome:
        side = self._world.side
        books = Judgement(
            engine=self._database.engine("owner"),
            account_id=account_id,
            orders=side.store.select(Order),
            deals=side.store.select(Deal),
            positions=tuple(side.terminal.books.positions.values()),
            broken_before=self._broken_before,
            accepted=self._world.temporal.executions.keys(),
        )
        states, violations = await books.pronounce()
        defects = [
            *(f"{e.workflow_id} failed: {e.failure.message}" for e in self._ended() if e.failure is not None),
            *self._world.baton.defects,
        ]
        return Outcome(
            seed=self._seed,
            cell=self._cell,
            struck=self._blows.struck,
            states=states,
            violations=(*violations, *(Violation(fault=Fault.DEFECT, what=defect) for defect in defects)),
            trace=tuple(self._trace),
        )

    def _ended(self) -> Iterable[Execution]:
        return self._world.temporal.executions.values()


async def rehearse(seed: int, database: Database, *, broken_before: AbstractSet[str]) -> Outcome:
    """`broken_before` are the breaches that earlier runs have left in the same books."""
    return await Rehearsal(seed, database, broken_before=broken_before).run()
