"""How a person's decision reaches a discrepancy: as an update of its workflow, begun anew if it has been lost."""

import asyncio
from contextlib import suppress
from uuid import UUID

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.deciding import DiscrepancyProgress
from workflows.discrepancy import DiscrepancyWorkflow
from workflows.queues import PIPELINE
from workflows.reconciliation_messages import Decide, DiscrepancyInput, discrepancy_workflow_id

# The server is away, or nobody took the decision before the caller left: whether it is carried out is not known.
# A client that has never reached the server raises a RuntimeError.
NO_ANSWER = (
    RPCError,
    RuntimeError,
    TimeoutError,
    WorkflowAlreadyStartedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)


async def put_decision(
    client: Client, discrepancy_id: UUID, said: Decide, *, key: str
) -> WorkflowUpdateHandle[DiscrepancyProgress]:
    """Return once the discrepancy's workflow has taken the decision; its result is what became of it.

    The same key is the same decision. Raises one of NO_ANSWER; the result, WorkflowUpdateFailedError as well.
    """
    start: WithStartWorkflowOperation[DiscrepancyWorkflow, None] = WithStartWorkflowOperation(
        DiscrepancyWorkflow.run,
        DiscrepancyInput(discrepancy_id=discrepancy_id),
        id=discrepancy_workflow_id(discrepancy_id),
        task_queue=PIPELINE,
        static_summary="discrepancy, begun anew by its decision",
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    try:
        return await client.start_update_with_start_workflow(
            DiscrepancyWorkflow.decide,
            said,
            id=f"decide-{key}",
            start_workflow_operation=start,
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        )
    except NO_ANSWER:
        # The operation keeps what happened in a future, which complains if nobody looks.
        with suppress(asyncio.CancelledError, *NO_ANSWER):
            await start.workflow_handle()
        raise


def refusal_of(error: WorkflowUpdateFailedError) -> ApplicationError | None:
    """What the step that carries a decision out said against it; its `type` is the code of the fault."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.type is not None:
            return cause
        cause = cause.__cause__
    return None
