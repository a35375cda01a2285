"""One run of the reconciliation: compare, compare again what differs, conclude, and put what is left to people.

1. What fails to be read ends the run as inconclusive; nothing is concluded from it.
2. The conclusion is one transaction under the id of this run, however often it is repeated.
"""

from datetime import datetime
from uuid import UUID

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    FailureError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from activities.comparing import CompareAccount, ComparingActivities, Comparison
    from activities.concluding import ConcludingActivities
    from activities.conclusions import Concluded, ConcludeRun
    from domain.reconciliation import confirmed
    from workflows.discrepancy import DiscrepancyWorkflow
    from workflows.queues import broker_queue
    from workflows.reconciliation_messages import DiscrepancyInput, ReconcileInput, discrepancy_workflow_id
    from workflows.retries import COMPARE, COMPARE_START, at_broker
    from workflows.steps import in_books, root


@workflow.defn
class ReconciliationWorkflow:
    @workflow.init
    def __init__(self, step: ReconcileInput) -> None:
        self._slug = step.account_slug
        self._cause = step.cause
        self._confirm_after = step.confirm_after

    @workflow.run
    async def run(self, _: ReconcileInput) -> Concluded:
        began_at, run_id = workflow.now(), workflow.uuid4()
        try:
            conclusion = await self._conclusion(run_id, began_at)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            reason = f"the broker could not be read: {root(error)}"[:500]
            conclusion = ConcludeRun(
                run_id=run_id, account_slug=self._slug, cause=self._cause, began_at=began_at, reason=reason
            )
        concluded = await in_books(ConcludingActivities.conclude_run, conclusion, summary="conclude")
        workflow.set_current_details(f"{concluded.verdict}; {len(concluded.reviews)} wait for a person")
        for discrepancy_id in concluded.reviews:
            await self._put_to_people(discrepancy_id)
        for discrepancy_id in concluded.ended:
            await self._end(discrepancy_id)
        return concluded

    async def _conclusion(self, run_id: UUID, began_at: datetime) -> ConcludeRun:
        first = last = await self._compare("compare")
        found = first.found
        if first.found or first.kept_out:
            # What a second reading does not show to the cent was in motion, and may be at rest by then.
            await workflow.sleep(self._confirm_after, summary="before the second reading")
            last = await self._compare("compare again")
            found = confirmed((*first.found, *first.kept_out), last.found)
        moving = tuple(each for each in last.found if each not in found)
        return ConcludeRun(
            run_id=run_id,
            account_slug=self._slug,
            cause=self._cause,
            began_at=began_at,
            read_at=last.read_at,
            watermark=last.watermark,
            found=found,
            kept_out=(*last.kept_out, *moving),
            found_tickets=tuple({*first.found_tickets, *last.found_tickets}),
            counts=last.counts,
            totals=last.totals,
        )

    async def _compare(self, summary: str) -> Comparison:
        options = at_broker(COMPARE, queue=broker_queue(self._slug), summary=summary)
        options["schedule_to_start_timeout"] = COMPARE_START
        return await workflow.execute_activity_method(
            ComparingActivities.compare_account, CompareAccount(account_slug=self._slug), **options
        )

    async def _put_to_people(self, discrepancy_id: UUID) -> None:
        try:
            _ = await workflow.start_child_workflow(
                DiscrepancyWorkflow.run,
                DiscrepancyInput(discrepancy_id=discrepancy_id),
                id=discrepancy_workflow_id(discrepancy_id),
                static_summary=f"discrepancy on {self._slug}",
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.debug("discrepancy %s waits already", discrepancy_id)

    async def _end(self, discrepancy_id: UUID) -> None:
        waiting = workflow.get_external_workflow_handle_for(
            DiscrepancyWorkflow.run, discrepancy_workflow_id(discrepancy_id)
        )
        try:
            await waiting.signal(DiscrepancyWorkflow.explained)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            # It was decided meanwhile, or had not been put to anybody yet.
            workflow.logger.debug("discrepancy %s waits no longer: %s", discrepancy_id, error)
