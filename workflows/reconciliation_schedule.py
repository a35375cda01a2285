"""How the reconciliation of an account is begun: by its schedule, or once, for a reason of its own.

1. Runs of the schedule never overlap, and what was missed while nobody ran is not made up for.
2. Made anew at every start-up: what is there already takes the interval that is set now.
"""

from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowHandle,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from activities.conclusions import Concluded
from domain.reconciliation import RunCause
from workflows.queues import PIPELINE
from workflows.reconciliation import ReconciliationWorkflow
from workflows.reconciliation_messages import ReconcileInput, run_workflow_id, schedule_id
from workflows.retries import CONFIRM_AFTER

# The least that the server takes; a run that is later than that is one that the next one replaces.
CATCH_UP = timedelta(seconds=10)


async def keep_schedule(client: Client, account_slug: str, *, interval: timedelta) -> None:
    """Have the account reconciled at this interval, whether or not its schedule exists."""
    schedule = _schedule(account_slug, interval)

    def changed(_: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=schedule)

    try:
        await client.create_schedule(schedule_id(account_slug), schedule)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(schedule_id(account_slug)).update(changed)


async def start_run(
    client: Client, account_slug: str, *, cause: RunCause, key: str, confirm_after: timedelta = CONFIRM_AFTER
) -> WorkflowHandle[ReconciliationWorkflow, Concluded]:
    """Reconcile the account now; the same key is the same run, also when that has ended."""
    workflow_id = run_workflow_id(account_slug, key)
    try:
        return await client.start_workflow(
            ReconciliationWorkflow.run,
            ReconcileInput(account_slug=account_slug, cause=cause, confirm_after=confirm_after),
            id=workflow_id,
            task_queue=PIPELINE,
            static_summary=_summary(account_slug, cause),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
    except WorkflowAlreadyStartedError:
        return client.get_workflow_handle_for(ReconciliationWorkflow.run, workflow_id)


def _schedule(account_slug: str, interval: timedelta) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            ReconciliationWorkflow.run,
            ReconcileInput(account_slug=account_slug, cause=RunCause.SCHEDULE),
            id=schedule_id(account_slug),
            task_queue=PIPELINE,
            static_summary=_summary(account_slug, RunCause.SCHEDULE),
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=interval)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
    )


def _summary(account_slug: str, cause: RunCause) -> str:
    return f"reconciliation of {account_slug} ({cause})"
