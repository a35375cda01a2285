"""A cell's blow, dealt once, where its step reaches the place for it."""

from collections.abc import Callable
from random import Random
from typing import Any

from brokers.mt5.terminals import Reply
from brokers.simulator.chaos import DRAWS
from brokers.simulator.fault_wire import KINDS
from brokers.simulator.faults import DealBusted, Event, TransportFault, ViewFault
from brokers.simulator.scripts import ANY_SYMBOL
from stack.chaos.baton import Killed, Turn
from stack.chaos.books import Outage
from stack.chaos.cells import SENDING, SUBMITS, Blow, CallBlow, Cell, Step
from stack.chaos.executions import ActivityRun, Execution
from stack.chaos.hosts import World

POINTS_WITHIN_MAX = 8
CALLS_WITHIN_MAX = 12
# Of the faults that fit every call, so many befall a read around the send instead of the send.
READ_BEFALLEN_SHARE = 0.3
DELAYS = (0.3, 2.0, 4.0)
FREEZES = (1.0, 6.0, 20.0, 45.0)
QUERIES = (
    "account_info",
    "history_deals_get",
    "history_deals_total",
    "history_orders_get",
    "orders_get",
    "positions_get",
    "symbol_info_tick",
    "terminal_info",
)
WRONG_RETCODES = (0, 1, 10006, 10007, 10011, 10013, 10099, 99_999)


class Blows:
    """Watches every point; `struck` says whether the cell's blow has been dealt."""

    def __init__(self, world: World, cell: Cell, rng: Random) -> None:
        self._world = world
        self._cell = cell
        self._rng = rng
        self._within: Turn | None = None
        self._points = 0
        self._strike_at = rng.randint(1, POINTS_WITHIN_MAX)
        self._calls = 0
        self._call_at = rng.randint(1, CALLS_WITHIN_MAX)
        self.armed = False
        self.struck = False
        self.reset_wanted = False
        self.restore_wanted = False
        world.hooks.before = self._before_call
        world.hooks.after = self._after_call

    def reached(self, turn: Turn) -> None:
        """Told of each point as a turn comes to it."""
        if not self.armed or self.struck:
            return
        if self._begins(turn):
            self._within, self._points, self._calls = turn, 0, 0
            self._at_begin(turn)
        elif turn is self._within:
            self._points += 1
            ended = self._ends(turn)
            self._at_point(turn, ended=ended)
            if ended:
                self._within = None

    def _begins(self, turn: Turn) -> bool:
        if self._cell.step is Step.FEED:
            return turn.step == "follow" and turn.at == "before market"
        return turn.at == f"{self._activity} begins"

    def _ends(self, turn: Turn) -> bool:
        return turn.at == ("feed pause" if self._cell.step is Step.FEED else f"{self._activity} done")

    @property
    def _activity(self) -> str:
        return "submit" if self._cell.step in SUBMITS else str(self._cell.step)

    def _at_begin(self, turn: Turn) -> None:
        match self._cell.blow:
            case Blow.KILL_BEFORE:
                self._kill(turn)
            case Blow.BOOKS_AWAY:
                self._outage(turn, [Outage.BEFORE] * self._rng.randint(1, 5))
            case Blow.COMMIT_UNKNOWN:
                self._outage(turn, [Outage.AFTER] * self._rng.randint(1, 2))
            case None:
                self._script()
            case _:
                pass  # dealt within the step, at its end, or at a call

    def _at_point(self, turn: Turn, *, ended: bool) -> None:
        due = ended or self._points >= self._strike_at
        match self._cell.blow:
            case Blow.KILL_WITHIN if due:
                self._kill(turn)
            case Blow.KILL_AFTER if ended:
                self._kill(turn)
            case Blow.DUPLICATE if due:
                self._duplicate(turn)
            case Blow.DELAY if due:
                self._delay(turn)
            case Blow.FREEZE if due:
                self._freeze(turn)
            case Blow.RESET if ended:
                self.struck = self.reset_wanted = True
            case Blow.RESTORED if ended:
                self.struck = self.restore_wanted = True
            case _:
                pass

    def _kill(self, turn: Turn) -> None:
        self.struck = True
        turn.process.alive = False

    def _duplicate(self, turn: Turn) -> None:
        """The server gives the attempt up while it runs, and hands it out again."""
        temporal = self._world.temporal
        for execution in temporal.executions.values():
            if execution.turn is turn:
                temporal.cut_off_task(execution)
                self.struck = True
            for run in execution.activities.values():
                if run.turn is turn:
                    self._cut_off(execution, run)

    def _cut_off(self, execution: Execution, run: ActivityRun) -> None:
        self.struck = True
        self._world.temporal.cut_off(execution, run)

    def _delay(self, turn: Turn) -> None:
        self.struck = True
        clock, ready = self._world.clock, turn.ready
        seconds = self._rng.choice(DELAYS)
        until = clock.seconds() + seconds
        clock.call_later(seconds, lambda: None)
        turn.ready = lambda: clock.seconds() >= until and ready()

    def _freeze(self, turn: Turn) -> None:
        self.struck = True
        process = turn.process
        process.frozen = True
        self._world.temporal.silenced(process)

        def wake() -> None:
            process.frozen = False

        self._world.clock.call_later(self._rng.choice(FREEZES), wake)

    def _outage(self, turn: Turn, outages: list[Outage]) -> None:
        self.struck = True
        host = next(host for host in self._world.hosts if host.process is turn.process)
        host.books.fail_next += outages

    def _script(self) -> None:
        """The next call that the fault fits is befallen by it."""
        self.struck = True
        name = self._cell.fault
        assert name is not None, "a cell has a blow or a fault"
        kind = KINDS[name]
        fault = DRAWS[kind](self._rng)
        if isinstance(fault, DealBusted):
            # One that realised nothing: what brokers take back of a profit is booked twice by us as yet.
            opening = self._world.side.store.newest_deal("entry = 0 AND type IN (0, 1)", ())
            fault = DealBusted(ticket=opening.ticket if opening is not None else 0)
        if issubclass(kind, Event):
            op = self._rng.choice(("order_send", *QUERIES))
        elif self._cell.step not in SENDING or (
            issubclass(kind, TransportFault | ViewFault) and self._rng.random() < READ_BEFALLEN_SHARE
        ):
            op = self._rng.choice(QUERIES)
        else:
            op = "order_send"
        self._world.side.terminal.faults.script(op, ANY_SYMBOL, [[fault]])

    def _before_call(self, name: str) -> None:
        if self._counts():
            self._calls += 1
            if self._cell.blow is CallBlow.KILL_BEFORE_CALL and self._due(name):
                self._kill_in_call()

    def _after_call(self, name: str, reply: Reply) -> Reply:
        if not self._counts():
            return reply
        if self._cell.blow is CallBlow.KILL_AFTER_CALL and self._due(name):
            self._kill_in_call()
        if self._cell.blow is CallBlow.WRONG_ANSWER and self._due(name):
            self.struck = True
            return Reply(spoiled(name, reply.value, self._rng), reply.code, reply.message)
        return reply

    def _due(self, name: str) -> bool:
        """Half of the time the very call that sends, else one of the calls around it."""
        if self._cell.step in SENDING and self._call_at % 2:
            return name == "order_send"
        return self._calls >= self._call_at

    def _counts(self) -> bool:
        turn = self._world.baton.current
        return self.armed and not self.struck and turn is not None and turn is self._within

    def _kill_in_call(self) -> None:
        self.struck = True
        raise Killed("killed in a call of the terminal")


def spoiled(name: str, value: Any, rng: Random) -> Any:
    """An answer that no documentation knows: other numbers, other types, missing or empty."""
    if name == "order_send" and isinstance(value, dict):
        changes: tuple[Callable[[], dict[str, Any]], ...] = (
            lambda: {"retcode": rng.choice(WRONG_RETCODES)},
            lambda: {"order": 0, "deal": 0},
            lambda: {"volume": float("nan"), "price": float("nan")},
            lambda: {"retcode": str(value["retcode"])},
            lambda: {"deal": 2**40 + 7},
        )
        return value | rng.choice(changes)()
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if rng.random() < 0.8}
    if isinstance(value, list):
        return rng.choice((None, [{}], "nonsense"))
    return rng.choice((None, "nonsense", -1))
