"""The stories that bring a trade to each step: what is ordered, and what is done to it on the way."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from brokers.simulator import constants as mt5
from brokers.simulator.faults import AnswerLost, Fault, HistoryLag, ListGap, Placed
from brokers.simulator.scripts import ANY_SYMBOL
from domain.money import Lots, Price
from domain.orders import Changes, OrderIntent, OrderType, Side, TimeInForce
from domain.trades import trade_id
from stack.chaos.cells import Cell, Step
from stack.chaos.executions import Execution
from stack.chaos.hosts import World
from workflows.trade_messages import CancelTrade, ModifyTrade, ResolveTrade, TradeInput

SYMBOL = "EURUSD"
SUBMIT_WITHIN = (timedelta(seconds=10), timedelta(seconds=10), timedelta(seconds=60))
PRELUDE_SECONDS = 30.0
RESTING_SECONDS = 3.0
PRELUDE_SHARE = 0.2
NEEDS_A_POSITION = frozenset({"deal_amended", "deal_busted", "manual_close", "stop_out", "swap_charged"})


class Story:
    """One run's trades; `until` lets the world go on to a condition, `arm` lets the cell's blow fall."""

    def __init__(
        self,
        world: World,
        *,
        account_id: UUID,
        user_id: UUID,
        until: Callable[..., Awaitable[bool]],
        arm: Callable[[], None],
    ) -> None:
        self._world = world
        self._account_id = account_id
        self._user_id = user_id
        self._until = until
        self._arm = arm
        self._number = 0
        self._withdrawals = 0
        self.executions: list[Execution] = []

    async def play(self, cell: Cell) -> None:
        """Bring a trade to the cell's step, armed just before it is started."""
        step = cell.step
        if cell.fault in NEEDS_A_POSITION or self._world.rng.random() < PRELUDE_SHARE:
            await self._open_position()
        scenes: dict[Step, Callable[[], Awaitable[None]]] = {
            Step.REFRESH: self._with_old_data,
            Step.CLOSE: self._closing,
            Step.CLOSE_BY: self._closing_by,
            Step.SEARCH: self._unanswered,
            Step.GIVE_UP_SENDING: self._without_a_sender,
            Step.DECIDE: self._decided,
            Step.FEED: self._filled_later,
            Step.READ_PROGRESS: self._filled_later,
            Step.CANCEL: self._cancelled,
            Step.MODIFY: self._modified,
        }
        await scenes.get(step, self._plain)()

    async def _plain(self) -> None:
        self._arm()
        self._start(self._varied())

    async def _unanswered(self) -> None:
        self._befall(AnswerLost(executed=self._coin()))
        await self._plain()

    @property
    def open(self) -> list[Execution]:
        """The present runs of the story's trades that have not ended."""
        present = [self._world.temporal.executions[execution.workflow_id] for execution in self.executions]
        return [execution for execution in present if not execution.closed]

    def withdraw(self) -> None:
        """Cancel whatever still works, as a trader would who was refused the first time."""
        self._withdrawals += 1
        key = f"w{self._withdrawals}"
        for execution in self.open:
            command = CancelTrade(key=key, requested_by=self._user_id, body_hash=key)
            self._world.temporal.update(execution, "cancel", f"cancel-{key}", command)

    async def _with_old_data(self) -> None:
        """The feed stands still until its data is too old to decide on."""
        self._world.feed_held = True
        await self._until(lambda: False, within_seconds=12.0)
        self._arm()
        execution = self._start(self._varied())
        await self._until(lambda: bool(execution.activities) or execution.closed, within_seconds=20.0)
        self._world.feed_held = False

    async def _open_position(self) -> None:
        opened = self._start(self._intent())
        await self._until(lambda: opened.closed, within_seconds=PRELUDE_SECONDS)

    async def _closing(self) -> None:
        await self._open_position()
        positions = [p for p in self._world.side.terminal.books.positions.values() if p.symbol == SYMBOL]
        self._arm()
        if not positions:
            self._start(self._intent())
            return
        lots = positions[0].lots if self._coin() else Decimal("0.05")
        self._start(self._intent(side=Side.SELL, volume=Lots(lots), position_id=positions[0].identifier))
        if self._coin():
            # A second close of the same position, by somebody who did not know of the first.
            self._start(self._intent(side=Side.SELL, volume=Lots(lots), position_id=positions[0].identifier))

    async def _closing_by(self) -> None:
        """Two opposite positions, one closed by the other; where accounts net there are no two."""
        for side in (Side.BUY, Side.SELL):
            opened = self._start(self._intent(side=side))
            await self._until(lambda opened=opened: opened.closed, within_seconds=PRELUDE_SECONDS)
        positions = [p for p in self._world.side.terminal.books.positions.values() if p.symbol == SYMBOL]
        bought = next((p for p in positions if p.type == mt5.POSITION_TYPE_BUY), None)
        sold = next((p for p in positions if p.type == mt5.POSITION_TYPE_SELL), None)
        self._arm()
        if bought is None or sold is None:
            self._start(self._intent())
            return
        closing = {"side": Side.SELL, "position_id": bought.identifier}
        lots = Lots(min(bought.lots, sold.lots))
        self._start(self._intent(**closing, volume=lots, close_by_position_id=sold.identifier))
        if self._coin():
            # Somebody else closes the same position at the same time.
            self._start(self._intent(**closing, volume=Lots(bought.lots)))

    async def _without_a_sender(self) -> None:
        """The worker dies as it takes the order, so that its submit ends without an answer."""
        self._arm()
        execution = self._start(self._varied())
        await self._until(
            lambda: (
                any(r.command.activity_type == "submit" for r in execution.activities.values()) or execution.closed
            ),
            within_seconds=20.0,
        )
        for host in self._world.hosts:
            if host.process.name.startswith("broker"):
                host.process.alive = False

    async def _decided(self) -> None:
        """A person decides while the broker's lists do not show the order yet; right or wrong."""
        executed = self._coin()
        fates: list[Fault] = [AnswerLost(executed=executed)]
        if executed:
            fates += [ListGap(ms=25_000), HistoryLag(ms=25_000)]
        self._befall(*fates)
        execution = self._start(self._intent())
        await self._until(
            lambda: (
                any(r.command.activity_type == "search" for r in execution.activities.values()) or execution.closed
            ),
            within_seconds=40.0,
        )
        self._arm()
        word = ResolveTrade(
            key="word", requested_by=self._user_id, body_hash="word", broker_order_id=None, reason="not there"
        )
        self._world.temporal.update(execution, "resolve", "resolve-word", word)

    async def _filled_later(self) -> None:
        """The broker accepts, and fills in parts that only the feed sees."""
        parts = self._world.rng.randint(1, 3)
        fraction = self._world.rng.choice((Decimal(1), Decimal(1), Decimal("0.5")))
        self._befall(Placed(after_ms=self._world.rng.randint(400, 4000), parts=parts, fraction=fraction))
        self._arm()
        self._start(self._intent(volume=Lots(Decimal("0.60"))))

    async def _cancelled(self) -> None:
        resting = await self._rested()
        if self._coin():
            # A fill that races the cancel.
            bid = Decimal("1.04000")
            self._world.clock.call_later(
                self._world.rng.random() * 0.05,
                lambda: self._world.side.terminal.on_tick(SYMBOL, bid, bid + Decimal("0.00010")),
            )
        self._cancel(resting)

    async def _modified(self) -> None:
        resting = await self._rested()
        changes = Changes(stop_loss=Price(Decimal("1.00000")))
        levels = ModifyTrade(key="m", requested_by=self._user_id, body_hash="m", changes=changes)
        self._world.temporal.update(resting, "modify", "modify-m", levels)
        await self._until(lambda: "modify-m" in resting.answers, within_seconds=90.0)
        self._cancel(resting)

    async def _rested(self) -> Execution:
        """An order far from the market, which works when the blow is armed."""
        resting = self._start(self._intent(order_type=OrderType.LIMIT, price=Price(Decimal("1.05000"))))
        await self._until(lambda: "opened" in resting.answers or resting.closed, within_seconds=PRELUDE_SECONDS)
        await self._until(lambda: False, within_seconds=RESTING_SECONDS)
        self._arm()
        return resting

    def _cancel(self, resting: Execution) -> None:
        command = CancelTrade(key="c", requested_by=self._user_id, body_hash="c")
        self._world.temporal.update(resting, "cancel", "cancel-c", command)

    def _start(self, intent: OrderIntent) -> Execution:
        execution = self._world.temporal.start(TradeInput(intent=intent, account_slug=self._world.slug))
        self.executions.append(execution)
        return execution

    def _varied(self) -> OrderIntent:
        """A market order, or a limit order that may fill at once, with levels or without."""
        rng = self._world.rng
        side = rng.choice((Side.BUY, Side.SELL))
        quote = self._world.side.terminal.market.quote(SYMBOL)
        assert quote is not None, "the market is open"
        level = Decimal("0.01000") * side.sign
        intent = self._intent(side=side, volume=Lots(rng.choice((Decimal("0.10"), Decimal("0.60")))))
        if rng.random() < 0.3:
            intent = replace(intent, stop_loss=Price(quote.bid - level), take_profit=Price(quote.bid + level))
        if rng.random() < 0.2:
            intent = replace(
                intent,
                order_type=OrderType.LIMIT,
                price=Price(quote.bid - Decimal("0.00200") * side.sign),
                time_in_force=TimeInForce.GTD,
                expires_at=self._world.clock.now() + timedelta(seconds=90),
            )
        return intent

    def _intent(self, **changes: Any) -> OrderIntent:
        self._number += 1
        client_order_id = f"{self._world.slug}-{self._number}"
        received_at = self._world.clock.now()
        values: dict[str, Any] = {
            "trade_id": trade_id(self._user_id, client_order_id),
            "user_id": self._user_id,
            "account_id": self._account_id,
            "client_order_id": client_order_id,
            "body_hash": f"hash of {client_order_id}",
            "symbol": SYMBOL,
            "side": Side.BUY,
            "order_type": OrderType.MARKET,
            "volume": Lots(Decimal("0.10")),
            "time_in_force": TimeInForce.GTC,
            "received_at": received_at,
            "submit_by": received_at + self._world.rng.choice(SUBMIT_WITHIN),
        }
        return OrderIntent(**{**values, **changes})

    def _befall(self, *faults: Fault) -> None:
        """What the next order meets."""
        self._world.side.terminal.faults.script("order_send", ANY_SYMBOL, [faults])

    def _coin(self) -> bool:
        return self._world.rng.random() < 0.5
