"""A discrepancy that waits for a person: reminded of by a clock, decided by an update, over once explained."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.deciding import DecideDiscrepancy, DecidingActivities, DiscrepancyProgress, Remind
    from workflows.children import start_trade
    from workflows.reconciliation_messages import Decide, DiscrepancyInput
    from workflows.retries import REMINDERS
    from workflows.steps import in_books
    from workflows.trade_messages import TradeInput


@workflow.defn
class DiscrepancyWorkflow:
    @workflow.init
    def __init__(self, waiting: DiscrepancyInput) -> None:
        self._id = waiting.discrepancy_id
        self._reminders = waiting.reminder_count
        self._waited = timedelta()
        self._over = False
        # A decision is carried out whole before the next one is looked at.
        self._deciding = asyncio.Lock()

    @workflow.run
    async def run(self, _: DiscrepancyInput) -> None:
        while not self._over:
            pause = REMINDERS[min(self._reminders, len(REMINDERS) - 1)]
            try:
                await workflow.wait_condition(
                    lambda: self._over, timeout=pause, timeout_summary="before the next reminder"
                )
            except TimeoutError:
                await self._remind(pause)
            if workflow.info().is_continue_as_new_suggested() and not self._over:
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(DiscrepancyInput(discrepancy_id=self._id, reminder_count=self._reminders))
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.signal
    def explained(self) -> None:
        """A record has explained it: nobody needs to decide any more."""
        self._over = True

    @workflow.update
    async def decide(self, said: Decide) -> DiscrepancyProgress:
        """Carry out a person's decision; the answer says what it made of the discrepancy."""
        async with self._deciding:
            step = DecideDiscrepancy(
                discrepancy_id=self._id, decision=said.decision, decided_by=said.decided_by, reason=said.reason
            )
            progress = await in_books(DecidingActivities.decide_discrepancy, step, summary=f"{said.decision}")
            if progress.close is not None:
                await self._close(TradeInput(intent=progress.close, account_slug=progress.account_slug))
            self._note(progress)
            return progress

    async def _remind(self, waited: timedelta) -> None:
        self._reminders += 1
        self._waited += waited
        step = Remind(
            discrepancy_id=self._id,
            count=self._reminders,
            waited_hours=int(self._waited / timedelta(hours=1)),
        )
        self._note(await in_books(DecidingActivities.remind_of_discrepancy, step, summary="remind"))

    async def _close(self, trade: TradeInput) -> None:
        try:
            _ = await start_trade(trade)
        except WorkflowAlreadyStartedError:
            workflow.logger.warning("close %s was begun before", trade.intent.client_order_id)

    def _note(self, progress: DiscrepancyProgress) -> None:
        self._over = not progress.waits
        workflow.set_current_details(f"{progress.state}: {progress.told}")
