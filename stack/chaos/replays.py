"""The workflow code itself, run by the SDK's own instance from activations, and brought back from a history."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio import workflow
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.common import Priority, TypedSearchAttributes
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails

from stack.chaos.executions import Execution, shape
from workflows.queues import PIPELINE
from workflows.trade import TradeWorkflow

NAMESPACE = "rehearsal"
WORKFLOW_TASK_TIMEOUT = timedelta(seconds=10)

_DEFINITION = workflow._Definition.must_from_class(TradeWorkflow)  # noqa: SLF001  # what a worker registers
# An instance sets an event loop of its own for its thread while it runs.
_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="workflow")


class TaskFailed(Exception):
    """A workflow task that the workflow code itself made fail: a defect, whatever the seed."""


async def activate(instance: WorkflowInstance, activation: WorkflowActivation) -> list[WorkflowCommand]:
    """The commands that the workflow answers with; raises TaskFailed."""
    loop = asyncio.get_running_loop()
    completion = await loop.run_in_executor(_THREAD, instance.activate, activation)
    if completion.HasField("failed"):
        raise TaskFailed(completion.failed.failure.message)
    return list(completion.successful.commands)


async def bring_back(execution: Execution) -> WorkflowInstance:
    """A fresh instance that has lived through the history; raises TaskFailed if it commands anything else."""
    instance = _open(execution)
    for wire, commanded in zip(execution.history, execution.commanded, strict=True):
        activation = WorkflowActivation.FromString(wire)
        activation.is_replaying = True
        again = shape(await activate(instance, activation))
        if again != commanded:
            raise TaskFailed(f"a replay commands {again}, the first run commanded {commanded}")
    return instance


def _open(execution: Execution) -> WorkflowInstance:
    converter = pydantic_data_converter
    info = workflow.Info(
        attempt=1,
        continued_run_id=None,
        cron_schedule=None,
        execution_timeout=None,
        first_execution_run_id=execution.first_run_id,
        headers={},
        namespace=NAMESPACE,
        original_execution_run_id=execution.run_id,
        parent=None,
        root=None,
        priority=Priority.default,
        raw_memo={},
        retry_policy=None,
        run_id=execution.run_id,
        run_timeout=None,
        search_attributes={},
        start_time=execution.started_at,
        task_queue=PIPELINE,
        task_timeout=WORKFLOW_TASK_TIMEOUT,
        typed_search_attributes=TypedSearchAttributes.empty,
        workflow_id=execution.workflow_id,
        workflow_start_time=execution.started_at,
        workflow_type=execution.start.workflow_type,
    )
    return UnsandboxedWorkflowRunner().create_instance(
        WorkflowInstanceDetails(
            payload_converter_factory=converter.payload_converter_class,
            failure_converter_class=converter.failure_converter_class,
            interceptor_classes=[],
            defn=_DEFINITION,
            info=info,
            randomness_seed=execution.start.randomness_seed,
            # Every local activity of a trade is registered with every worker here.
            extern_functions={"__temporal_assert_local_activity_valid": lambda _: None},
            disable_eager_activity_execution=True,
            worker_level_failure_exception_types=[],
            patch_activation_callback=None,
            last_completion_result=execution.start.last_completion_result,
            last_failure=None,
        )
    )
