"""One workflow task: tell the workflow what is new, run its local activities, and make the outcome true at once.

What a task did is lost with its worker until the server has taken its completion; then a later worker brings the
workflow back from the history and is told the same news again.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.bridge.proto.activity_result import ActivityResolution
from temporalio.bridge.proto.workflow_activation import (
    ResolveActivity,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import ScheduleLocalActivity, WorkflowCommand
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import WorkflowInstance

from stack.chaos.baton import Baton
from stack.chaos.clock import VirtualClock
from stack.chaos.executions import Execution, Worker, as_failure, completed, failed, shape
from stack.chaos.replays import activate, bring_back

Perform = Callable[[Worker, str, Any], Awaitable[Any]]


class WorkflowTask:
    def __init__(
        self, execution: Execution, worker: Worker, *, baton: Baton, clock: VirtualClock, perform: Perform
    ) -> None:
        self._execution = execution
        self._worker = worker
        self._baton = baton
        self._clock = clock
        self._perform = perform
        self._number = execution.task
        self._news = len(execution.pending)
        self._activations: list[tuple[bytes, tuple[str, ...]]] = []
        self._commands: list[WorkflowCommand] = []

    async def run(self) -> list[WorkflowCommand] | None:
        """The commands once they are true, or None where the server would not take them."""
        execution, worker = self._execution, self._worker
        kept, seen = worker.remembered.pop(execution.run_id, (None, -1))
        instance = kept if seen == len(execution.history) else await bring_back(execution)
        await self._tell(instance, execution.pending[: self._news])
        done = 0
        while done < len(self._commands):
            command = self._commands[done]
            done += 1
            if command.HasField("schedule_local_activity"):
                await self._locally(instance, command.schedule_local_activity)
        await self._baton.point("workflow task answering")
        closes = any(_closes(command) for command in self._commands)
        if execution.task != self._number or (closes and len(execution.pending) > self._news):
            # Another worker has the task by now, or there is news that the workflow has not heard.
            return None
        self._make_true()
        worker.remembered[execution.run_id] = (instance, len(execution.history))
        return self._commands

    async def _tell(self, instance: WorkflowInstance, jobs: list[WorkflowActivationJob]) -> None:
        activation = WorkflowActivation(run_id=self._execution.run_id, jobs=jobs)
        activation.timestamp.FromDatetime(self._clock.now())
        wire = activation.SerializeToString()
        commands = await activate(instance, activation)
        self._activations.append((wire, shape(commands)))
        self._commands += commands

    async def _locally(self, instance: WorkflowInstance, command: ScheduleLocalActivity) -> None:
        result = await self._try(command)
        resolved = ResolveActivity(seq=command.seq, result=result, is_local=True)
        await self._tell(instance, [WorkflowActivationJob(resolve_activity=resolved)])

    async def _try(self, command: ScheduleLocalActivity) -> ActivityResolution:
        policy = RetryPolicy.from_proto(command.retry_policy)
        attempt = 1
        while True:
            try:
                value = await self._perform(self._worker, command.activity_type, command.arguments)
            except Exception as error:  # noqa: BLE001  # the workflow is told, whatever it was
                final = isinstance(error, ApplicationError) and error.non_retryable
                if final or attempt >= policy.maximum_attempts:
                    return failed(as_failure(error))
                backoff = policy.initial_interval.total_seconds() * policy.backoff_coefficient ** (attempt - 1)
                await self._baton.sleep(f"{command.activity_type} waits", backoff)
                attempt += 1
            else:
                return completed(value)

    def _make_true(self) -> None:
        execution = self._execution
        execution.history += [wire for wire, _ in self._activations]
        execution.commanded += [told for _, told in self._activations]
        del execution.pending[: self._news]


def _closes(command: WorkflowCommand) -> bool:
    return (command.WhichOneof("variant") or "").endswith("_workflow_execution")
