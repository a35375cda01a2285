"""What the emergency stop's workflow takes and answers, and how it is started."""

from dataclasses import dataclass
from typing import TypedDict
from uuid import UUID

from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from domain.stops import Stop
from workflows.queues import PIPELINE

STOP_WORKFLOW = "EmergencyStopWorkflow"


@dataclass(frozen=True, kw_only=True)
class StopInput:
    """`round` counts the sweeps of earlier runs, `closes` are their trades that had no end yet, by position."""

    stop: Stop
    round: int = 0
    cancelled: tuple[str, ...] = ()
    closes: tuple[tuple[str, int, UUID], ...] = ()


@dataclass(frozen=True, kw_only=True)
class StopEnd:
    flat: bool
    told: str


class StopOptions(TypedDict):
    id: str
    task_queue: str
    static_summary: str
    id_conflict_policy: WorkflowIDConflictPolicy
    id_reuse_policy: WorkflowIDReusePolicy


def workflow_id(stop_id: UUID) -> str:
    return f"stop-{stop_id}"


def start_options(stop: Stop) -> StopOptions:
    """Starting it twice, from wherever, is starting it once; one that failed is begun again."""
    return {
        "id": workflow_id(stop.stop_id),
        "task_queue": PIPELINE,
        "static_summary": f"STOP: {stop}",
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        "id_reuse_policy": WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
    }
