"""The emergency stop: latch → in force → cancel and close → until the broker shows flat → certificate.

1. The latch is set before this workflow runs, or by its first step; nothing waits for Temporal to be stopped.
2. Closes are trades of their own under fixed ids, so none is made twice, whatever is run again.
3. It says flat only when the broker's own list has nothing left that it covers.
"""

import asyncio
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, WorkflowAlreadyStartedError, is_cancelled_exception
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.stops import AwaitForce, Certified, CertifyStop, LatchStop, StopActivities
    from activities.sweeps import SweepAccount, SweepActivities, Swept
    from activities.trades import TradeActivities, TradeStep
    from domain.orders import OrderState
    from domain.stops import StopPosition, close_key, closing_intent
    from domain.trades import trade_id
    from workflows.children import TradeHandle, start_trade
    from workflows.queues import broker_queue
    from workflows.retries import (
        BOOKS_PATIENT,
        CLOSE_PATIENCE,
        STOP_ROUNDS,
        SWEEP,
        SWEEP_START,
        at_broker,
    )
    from workflows.steps import in_books, root, was_started
    from workflows.stop_messages import StopEnd, StopInput
    from workflows.trade_messages import TradeAck, TradeInput

Key = tuple[str, int]

NO_SENDER = "no sender takes its work"


@workflow.defn
class EmergencyStopWorkflow:
    @workflow.init
    def __init__(self, stop: StopInput) -> None:
        self._stop = stop.stop
        self._round = stop.round
        self._cancelled = list(stop.cancelled)
        self._running: dict[Key, TradeHandle] = {}
        self._closing = {(slug, position_id): trade for slug, position_id, trade in stop.closes}
        self._refused: dict[Key, str] = {}
        self._silent: dict[str, str] = {}

    @workflow.run
    async def run(self, stop: StopInput) -> StopEnd:
        latched = await in_books(StopActivities.latch_stop, LatchStop(stop=stop.stop), summary="latch")
        if latched.over:
            return StopEnd(flat=False, told="trading was opened again")
        # Closes go under the number of their round, so a stop that is begun anew goes on where it was.
        self._round = max(self._round, latched.round)
        waiting: ActivityConfig = {**BOOKS_PATIENT, "summary": "wait for what is in flight"}
        force = await workflow.execute_activity_method(
            StopActivities.await_force, AwaitForce(stop=stop.stop), **waiting
        )
        workflow.set_current_details("\n- ".join(["in force", *(f"but for {send}" for send in force.named)]))
        while True:
            certified = await self._sweep_once(latched.accounts)
            workflow.set_current_details(certified.told)
            if certified.ended:
                return StopEnd(flat=certified.flat, told=certified.told)
            await self._pause()

    async def _sweep_once(self, accounts: tuple[str, ...]) -> Certified:
        """Cancel and close what is there, each account by itself, then certify what the broker shows."""
        self._round += 1
        # What was in flight before the look may have landed behind it.
        look = AwaitForce(stop=self._stop)
        flying = await in_books(StopActivities.look_in_flight, look, summary="what is in flight")
        answers = await asyncio.gather(*(self._work(slug) for slug in accounts))
        swept = {slug: answer for slug, answer in zip(accounts, answers, strict=True) if answer is not None}
        positions = [position for each in swept.values() for position in each.positions]
        flatten = self._stop.flatten
        told = [_position(position) for position in positions]
        remaining = [*(told if flatten else ()), *(f"was in flight: {send}" for send in flying.named if flatten)]
        if flatten or self._stop.cancel_orders:
            remaining += [order for each in swept.values() for order in each.orders]
        remaining += [f"account {slug}: {self._silent[slug]}" for slug in accounts if slug not in swept]
        still_open = {_key(position) for position in positions}
        certify = CertifyStop(
            stop=self._stop,
            round=self._round,
            left=(*(left for each in swept.values() for left in each.left), *(() if flatten else told)),
            remaining=tuple(remaining),
            cancelled=tuple(self._cancelled),
            refused=tuple(told for key, told in self._refused.items() if key in still_open),
        )
        return await in_books(StopActivities.certify_stop, certify, summary="certify")

    async def _work(self, slug: str) -> Swept | None:
        """One round on one account: what its broker shows afterwards; None if no sender answers for it."""
        swept = await self._sweep(slug)
        if swept is None or swept.over or not self._stop.flatten or not swept.positions:
            return swept
        await self._close(swept.positions)
        return await self._sweep(slug)

    async def _sweep(self, slug: str) -> Swept | None:
        options = at_broker(SWEEP, queue=broker_queue(slug), summary=f"sweep account {slug}")
        options["schedule_to_start_timeout"] = SWEEP_START
        try:
            swept = await workflow.execute_activity_method(
                SweepActivities.sweep, SweepAccount(stop=self._stop, account_slug=slug), **options
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            # Whatever it is, the next round tries again, and until then the certificate says so.
            self._silent[slug] = f"no answer from its sender: {root(error)}" if was_started(error) else NO_SENDER
            return None
        self._cancelled += swept.cancelled
        return swept

    async def _close(self, positions: tuple[StopPosition, ...]) -> None:
        """Close each position that no close of ours is still working on, and wait a little for all of them."""
        keys = [_key(position) for position in positions]
        for key in [key for key in self._closing if key not in self._running]:
            await self._look_up(key, self._closing[key])
        await asyncio.gather(
            *(self._start_close(position) for position in positions if _key(position) not in self._closing)
        )
        try:
            await workflow.wait_condition(
                lambda: all(self._running[key].done() for key in keys if key in self._running),
                timeout=CLOSE_PATIENCE,
                timeout_summary="the closes of this round",
            )
        except TimeoutError:
            workflow.logger.warning("some closes of %s have no end yet", self._stop.stop_id)
        for key in [key for key in keys if key in self._running and self._running[key].done()]:
            del self._closing[key]
            await self._note_end(key, self._running.pop(key))

    async def _look_up(self, key: Key, trade_id: UUID) -> None:
        """A close of an earlier run of this workflow tells its end to nobody, so the books are asked."""
        step = TradeStep(trade_id=trade_id)
        try:
            progress = await in_books(TradeActivities.read_progress, step, summary="a close of an earlier run")
        except FailureError as error:
            workflow.logger.warning("close %s could not be looked up: %s", trade_id, root(error))
            return
        if progress.closed_at is not None:
            del self._closing[key]

    async def _start_close(self, position: StopPosition) -> None:
        order_id = close_key(self._stop, position, attempt=self._round)
        intent = closing_intent(
            self._stop,
            position,
            trade_id=trade_id(position.user_id, order_id),
            client_order_id=order_id,
            now=workflow.now(),
        )
        trade = TradeInput(intent=intent, account_slug=position.account_slug)
        try:
            self._running[_key(position)] = await start_trade(trade)
            self._closing[_key(position)] = intent.trade_id
        except WorkflowAlreadyStartedError:
            workflow.logger.warning("close %s was begun by an earlier run", order_id)

    async def _note_end(self, key: Key, close: TradeHandle) -> None:
        """Keep why a close did not fill, for the certificate."""
        if close.exception() is not None:
            self._refused[key] = f"#{key[1]}: {close.exception()}"
            return
        ack: TradeAck = close.result()
        if ack.state is OrderState.FILLED:
            self._refused.pop(key, None)
            return
        step = TradeStep(trade_id=ack.trade_id)
        try:
            progress = await in_books(TradeActivities.read_progress, step, summary="why a close did not fill")
        except FailureError as error:
            self._refused[key] = f"#{key[1]}: {error}"
            return
        self._refused[key] = f"#{key[1]}: {progress.state}: {progress.reason}"

    async def _pause(self) -> None:
        """Before the next round; a closed market or a lost link may take long, and histories have an end."""
        await workflow.sleep(
            STOP_ROUNDS[min(self._round - 1, len(STOP_ROUNDS) - 1)], summary="before the next round"
        )
        if workflow.info().is_continue_as_new_suggested():
            workflow.continue_as_new(
                StopInput(
                    stop=self._stop,
                    round=self._round,
                    cancelled=tuple(self._cancelled),
                    closes=tuple((*key, trade) for key, trade in self._closing.items()),
                )
            )


def _key(position: StopPosition) -> Key:
    """Brokers number positions for each account anew."""
    return position.account_slug, position.position_id


def _position(position: StopPosition) -> str:
    return (
        f"{position.side} {position.volume} {position.symbol} #{position.position_id} on {position.account_slug}"
    )
