"""One workflow execution as a server keeps it: what has happened, what is to be told, and what is under way."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from temporalio.api.common.v1 import ActivityType, Payload
from temporalio.api.failure.v1 import ActivityFailureInfo, Failure, TimeoutFailureInfo
from temporalio.bridge.proto.activity_result import ActivityResolution
from temporalio.bridge.proto.workflow_activation import (
    DoUpdate,
    FireTimer,
    InitializeWorkflow,
    ResolveActivity,
    SignalWorkflow,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import ScheduleActivity, UpdateResponse, WorkflowCommand
from temporalio.common import RetryPolicy
from temporalio.contrib.pydantic import pydantic_data_converter

from stack.chaos.baton import Process, Turn
from stack.chaos.clock import Entry

CONVERTER = pydantic_data_converter.payload_converter
FAILURES = pydantic_data_converter.failure_converter
BACKOFF_STEPS_MAX = 20


@dataclass(eq=False, kw_only=True)
class ActivityRun:
    """A regular activity; `attempt` is the one that may still answer."""

    command: ScheduleActivity
    attempt: int = 1
    ready_at: float = 0.0
    turn: Turn | None = None
    done: bool = False

    @property
    def waiting(self) -> bool:
        return self.turn is None and not self.done

    def backoff_seconds(self) -> float:
        policy = RetryPolicy.from_proto(self.command.retry_policy)
        interval = policy.initial_interval * policy.backoff_coefficient ** min(self.attempt - 1, BACKOFF_STEPS_MAX)
        longest = policy.maximum_interval or policy.initial_interval * 100
        return min(interval, longest).total_seconds()

    def may_repeat(self, failure: Failure) -> bool:
        most = self.command.retry_policy.maximum_attempts
        final = failure.HasField("application_failure_info") and failure.application_failure_info.non_retryable
        return not final and (most == 0 or self.attempt < most)


@dataclass(eq=False, kw_only=True)
class Execution:
    """`history` is the activations that a completed workflow task has made true, in their wire form."""

    workflow_id: str
    run_id: str
    first_run_id: str
    start: InitializeWorkflow
    started_at: datetime
    history: list[bytes] = field(default_factory=list)
    commanded: list[tuple[str, ...]] = field(default_factory=list)
    pending: list[WorkflowActivationJob] = field(default_factory=list)
    timers: dict[int, Entry] = field(default_factory=dict)
    activities: dict[int, ActivityRun] = field(default_factory=dict)
    answers: dict[str, UpdateResponse] = field(default_factory=dict)
    task: int = 0
    turn: Turn | None = None
    closed: bool = False
    failure: Failure | None = None

    def tell(self, job: WorkflowActivationJob) -> None:
        if not self.closed:
            self.pending.append(job)

    def fire(self, seq: int) -> None:
        if self.timers.pop(seq, None) is not None:
            self.tell(WorkflowActivationJob(fire_timer=FireTimer(seq=seq)))

    def resolve(self, run: ActivityRun, result: ActivityResolution) -> None:
        run.done = True
        self.tell(WorkflowActivationJob(resolve_activity=ResolveActivity(seq=run.command.seq, result=result)))


def signal_job(name: str) -> WorkflowActivationJob:
    return WorkflowActivationJob(signal_workflow=SignalWorkflow(signal_name=name))


_update_numbers = itertools.count(1)


def update_job(name: str, update_id: str, *arguments: Any) -> WorkflowActivationJob:
    update = DoUpdate(id=update_id, protocol_instance_id=update_id, name=name, run_validator=True)
    update.input.extend(CONVERTER.to_payloads(arguments))
    update.meta.update_id = update_id
    return WorkflowActivationJob(do_update=update)


def shape(commands: Sequence[WorkflowCommand]) -> tuple[str, ...]:
    """What a replay must command again, without what only describes it."""
    told = []
    for command in commands:
        kind = command.WhichOneof("variant") or "none"
        body = getattr(command, kind)
        told.append(f"{kind} {getattr(body, 'seq', '')} {getattr(body, 'activity_type', '')}".strip())
    return tuple(told)


def decoded(payloads: Sequence[Payload], hints: list[type]) -> list[Any]:
    return CONVERTER.from_payloads(payloads, hints)


def completed(value: Any) -> ActivityResolution:
    resolution = ActivityResolution()
    resolution.completed.result.CopyFrom(CONVERTER.to_payloads([value])[0])
    return resolution


def failed(failure: Failure) -> ActivityResolution:
    resolution = ActivityResolution()
    resolution.failed.failure.CopyFrom(failure)
    return resolution


def as_failure(error: BaseException) -> Failure:
    failure = Failure()
    FAILURES.to_failure(error, CONVERTER, failure)
    return failure


def timed_out(kind: int) -> Failure:
    return Failure(message="activity timed out", timeout_failure_info=TimeoutFailureInfo(timeout_type=kind))  # type: ignore[arg-type]  # the enum's own numbers


def wrapped(run: ActivityRun, cause: Failure) -> Failure:
    """The failure of a regular activity, as the server reports it."""
    command = run.command
    return Failure(
        message="Activity task failed",
        cause=cause,
        activity_failure_info=ActivityFailureInfo(
            activity_type=ActivityType(name=command.activity_type), activity_id=command.activity_id
        ),
    )


@dataclass(eq=False, kw_only=True)
class Worker:
    """A process that polls a queue: the activities that it has registered, and the workflows that it remembers."""

    process: Process
    queue: str
    activities: dict[str, Callable[..., Any]]
    remembered: dict[str, tuple[Any, int]] = field(default_factory=dict)

    @property
    def polling(self) -> bool:
        return self.process.alive and not self.process.frozen


def seconds_of(duration: Any) -> float:
    """A protobuf duration; zero means none."""
    span: timedelta = duration.ToTimedelta()
    return span.total_seconds()
