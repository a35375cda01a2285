"""Temporal, as far as the life of a trade needs it: the same workflow code and SDK, without a server or a network.

1. A workflow task counts once its completion was taken; a regular activity once its answer was.
2. An attempt whose worker is silent for its heartbeat timeout is given up, and may still be running.
3. Nothing waits in real time: timers and timeouts are entries on the virtual clock's agenda.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, get_type_hints
from uuid import UUID

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.workflow_activation import InitializeWorkflow, WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.failures import FailureInterceptor
from domain.trades import workflow_id
from stack.chaos.baton import Baton, Process, Turn
from stack.chaos.clock import VirtualClock
from stack.chaos.executions import (
    CONVERTER,
    ActivityRun,
    Execution,
    Worker,
    as_failure,
    completed,
    decoded,
    failed,
    seconds_of,
    signal_job,
    timed_out,
    update_job,
    wrapped,
)
from stack.chaos.replays import WORKFLOW_TASK_TIMEOUT, TaskFailed
from stack.chaos.tasks import WorkflowTask
from workflows.queues import PIPELINE
from workflows.trade import TradeWorkflow
from workflows.trade_messages import OPENED_UPDATE_ID, TradeInput

WORKFLOW_TASK = "workflow task"


class Temporal:
    def __init__(self, baton: Baton, clock: VirtualClock, rng: Random) -> None:
        self._baton = baton
        self._clock = clock
        self._rng = rng
        self.workers: list[Worker] = []
        self.executions: dict[str, Execution] = {}
        self._given_up: list[Turn] = []

    def start(self, trade: TradeInput) -> Execution:
        """As update-with-start does: a second start of the same trade finds the first."""
        known = workflow_id(trade.intent.user_id, trade.intent.client_order_id)
        return self.executions.get(known) or self._opened(known, trade)

    def signal(self, known: str, name: str) -> None:
        execution = self.executions.get(known)
        if execution is None or execution.closed:
            raise RPCError("workflow execution already completed", RPCStatusCode.NOT_FOUND, b"")
        execution.tell(signal_job(name))

    def update(self, execution: Execution, name: str, update_id: str, argument: Any) -> None:
        execution.tell(update_job(name, update_id, argument))

    def reset(self, execution: Execution) -> Execution:
        """Begin the workflow anew from its first task, as an operator does; the old run ends where it is."""
        self._end(execution)
        anew = self._begin(execution.workflow_id, execution.start)
        anew.tell(update_job("opened", OPENED_UPDATE_ID))
        return anew

    def _go_on(self, execution: Execution, arguments: Sequence[Payload]) -> None:
        """Another run under the same id; what was told to the old one and not heard is lost with it."""
        self._end(execution)
        start = InitializeWorkflow()
        start.CopyFrom(execution.start)
        del start.arguments[:]
        start.arguments.extend(arguments)
        self._begin(execution.workflow_id, start)

    def _end(self, execution: Execution) -> None:
        execution.closed = True
        execution.task += 1
        for timer in execution.timers.values():
            timer.cancel()
        for run in execution.activities.values():
            run.done = True

    def _begin(self, workflow_id: str, start: InitializeWorkflow) -> Execution:
        before, run_id = self.executions.get(workflow_id), self._run_id()
        anew = Execution(
            workflow_id=workflow_id,
            run_id=run_id,
            first_run_id=run_id if before is None else before.first_run_id,
            start=start,
            started_at=self._clock.now(),
        )
        anew.tell(WorkflowActivationJob(initialize_workflow=start))
        self.executions[workflow_id] = anew
        return anew

    async def dispatch(self) -> None:
        """Hand out every task that a polling worker can take."""
        while self._given_up:
            # As the SDK does it, once a heartbeat's answer says that the attempt is over.
            await self._baton.stop(self._given_up.pop(), asyncio.CancelledError())
        for execution in list(self.executions.values()):
            if execution.pending and execution.turn is None and not execution.closed:
                self._hand_out_task(execution)
            for run in list(execution.activities.values()):
                if run.waiting and run.ready_at <= self._clock.seconds():
                    self._hand_out_activity(execution, run)

    def silenced(self, process: Process) -> None:
        """The server hears nothing more of a process; it learns of that by timeouts alone."""
        for execution in self.executions.values():
            turn = execution.turn
            if turn is not None and turn.process is process:
                seconds = WORKFLOW_TASK_TIMEOUT.total_seconds()
                self._later(seconds, partial(self._lose_task, execution, execution.task))
            for run in execution.activities.values():
                patience = seconds_of(run.command.heartbeat_timeout)
                if patience and run.turn is not None and run.turn.process is process and not run.done:
                    self._later(patience, partial(self._missed, execution, run, run.attempt))

    def cut_off(self, execution: Execution, run: ActivityRun) -> None:
        """The server gives up a running attempt, whose worker does not know it yet."""
        self._fail_attempt(execution, run, timed_out(TimeoutType.TIMEOUT_TYPE_HEARTBEAT))

    def cut_off_task(self, execution: Execution) -> None:
        self._lose_task(execution, execution.task)

    def _opened(self, known: str, trade: TradeInput) -> Execution:
        start = InitializeWorkflow(
            workflow_type=TradeWorkflow.__name__, workflow_id=known, randomness_seed=self._rng.getrandbits(63)
        )
        start.arguments.extend(CONVERTER.to_payloads([trade]))
        execution = self._begin(known, start)
        execution.tell(update_job("opened", OPENED_UPDATE_ID))
        return execution

    def _hand_out_task(self, execution: Execution) -> None:
        worker = self._poller(PIPELINE)
        if worker is None:
            return
        task = WorkflowTask(execution, worker, baton=self._baton, clock=self._clock, perform=self._perform)

        async def work() -> None:
            number = execution.task
            try:
                commands = await task.run()
            except TaskFailed as failed_by:
                # A server would tell it again and again; for a verdict once is enough.
                self._baton.defects.append(f"a workflow task failed: {failed_by}")
                execution.closed = True
                return
            finally:
                if execution.task == number:
                    execution.turn = None
            for command in commands or ():
                self._obey(execution, command)

        execution.turn = self._baton.start(WORKFLOW_TASK, worker.process, work)

    def _hand_out_activity(self, execution: Execution, run: ActivityRun) -> None:
        worker = self._poller(run.command.task_queue)
        if worker is None:
            return
        attempt = run.attempt
        run.turn = self._baton.start(
            run.command.activity_type, worker.process, lambda: self._attempt(worker, execution, run, attempt)
        )
        longest = seconds_of(run.command.start_to_close_timeout)
        self._later(longest, lambda: self._overran(execution, run, attempt))

    async def _attempt(self, worker: Worker, execution: Execution, run: ActivityRun, attempt: int) -> None:
        failure: Failure | None = None
        value: Any = None
        try:
            value = await self._perform(worker, run.command.activity_type, run.command.arguments)
        except Exception as error:  # noqa: BLE001  # the workflow is told, whatever it was
            failure = as_failure(error)
        await self._baton.point("answering")
        if run.done or run.attempt != attempt or execution.closed:
            return
        if failure is None:
            execution.resolve(run, completed(value))
        else:
            self._fail_attempt(execution, run, failure)

    async def _perform(self, worker: Worker, name: str, payloads: Any) -> Any:
        step = worker.activities[name]
        hints = [hint for parameter, hint in get_type_hints(step).items() if parameter != "return"]
        inbound = FailureInterceptor().intercept_activity(Innermost())
        call = ExecuteActivityInput(fn=step, args=decoded(payloads, hints), executor=None, headers={})
        await self._baton.point(f"{name} begins")
        value = await ActivityEnvironment().run(inbound.execute_activity, call)
        await self._baton.point(f"{name} done")
        return value

    def _fail_attempt(self, execution: Execution, run: ActivityRun, failure: Failure) -> None:
        if run.done or execution.closed:
            return
        run.turn = None
        if not run.may_repeat(failure):
            execution.resolve(run, failed(wrapped(run, failure)))
            return
        backoff = run.backoff_seconds()
        run.attempt += 1
        run.ready_at = self._clock.seconds() + backoff
        self._later(backoff, lambda: None)

    def _missed(self, execution: Execution, run: ActivityRun, attempt: int) -> None:
        turn = run.turn
        if turn is not None and run.attempt == attempt and (turn.process.frozen or not turn.process.alive):
            self._fail_attempt(execution, run, timed_out(TimeoutType.TIMEOUT_TYPE_HEARTBEAT))

    def _overran(self, execution: Execution, run: ActivityRun, attempt: int) -> None:
        turn = run.turn
        if turn is None or run.done or run.attempt != attempt:
            return
        self._fail_attempt(execution, run, timed_out(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE))
        if turn.process.alive and not turn.process.frozen:
            self._given_up.append(turn)

    def _unstarted(self, execution: Execution, run: ActivityRun) -> None:
        if run.waiting and run.attempt == 1:
            failure = timed_out(TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START)
            execution.resolve(run, failed(wrapped(run, failure)))

    def _lose_task(self, execution: Execution, number: int) -> None:
        if execution.task == number:
            execution.task += 1
            execution.turn = None

    def _obey(self, execution: Execution, command: WorkflowCommand) -> None:
        kind = command.WhichOneof("variant")
        match kind:
            case "start_timer":
                timer = command.start_timer
                execution.timers[timer.seq] = self._later(
                    seconds_of(timer.start_to_fire_timeout), lambda: execution.fire(timer.seq)
                )
            case "cancel_timer":
                entry = execution.timers.pop(command.cancel_timer.seq, None)
                if entry is not None:
                    entry.cancel()
            case "schedule_activity":
                self._schedule(execution, ActivityRun(command=command.schedule_activity))
            case "update_response":
                execution.answers[command.update_response.protocol_instance_id] = command.update_response
            case "complete_workflow_execution":
                execution.closed = True
            case "continue_as_new_workflow_execution":
                self._go_on(execution, command.continue_as_new_workflow_execution.arguments)
            case "fail_workflow_execution":
                execution.closed = True
                execution.failure = command.fail_workflow_execution.failure
            case "schedule_local_activity" | "upsert_workflow_search_attributes" | "modify_workflow_properties":
                pass  # run within the task, or only shown
            case _:
                raise NotImplementedError(f"the trade's workflow has learned to command {kind}")

    def _schedule(self, execution: Execution, run: ActivityRun) -> None:
        execution.activities[run.command.seq] = run
        patience = seconds_of(run.command.schedule_to_start_timeout) or seconds_of(
            run.command.schedule_to_close_timeout
        )
        if patience:
            self._later(patience, lambda: self._unstarted(execution, run))

    def _poller(self, queue: str) -> Worker | None:
        polling = [worker for worker in self.workers if worker.queue == queue and worker.polling]
        return self._rng.choice(polling) if polling else None

    def _later(self, seconds: float, act: Callable[[], object]) -> Any:
        return self._clock.call_later(seconds, act)

    def _run_id(self) -> str:
        return str(UUID(int=self._rng.getrandbits(128)))


class Innermost(ActivityInboundInterceptor):
    """The activity itself, behind the interceptors that a worker puts before it."""

    def __init__(self) -> None:
        """There is no next one."""

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002  # the SDK's name
        return await input.fn(*input.args)
