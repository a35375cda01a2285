"""What the reconciliation's workflows take and answer, and how they are started and named."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from domain.discrepancies import Decision
from domain.reconciliation import RunCause
from workflows.retries import CONFIRM_AFTER

RECONCILIATION_WORKFLOW = "ReconciliationWorkflow"
DISCREPANCY_WORKFLOW = "DiscrepancyWorkflow"


@dataclass(frozen=True, kw_only=True)
class ReconcileInput:
    """`confirm_after` lies between the first reading and the second."""

    account_slug: str
    cause: RunCause
    confirm_after: timedelta = CONFIRM_AFTER


@dataclass(frozen=True, kw_only=True)
class DiscrepancyInput:
    """`reminder_count` counts those of earlier runs."""

    discrepancy_id: UUID
    reminder_count: int = 0


@dataclass(frozen=True, kw_only=True)
class Decide:
    """A person's decision; `decided_by` is the actor."""

    decision: Decision
    decided_by: str
    reason: str


def schedule_id(account_slug: str) -> str:
    return f"reconcile-{account_slug}"


def run_workflow_id(account_slug: str, key: str) -> str:
    """The id of a run that no schedule starts; the same key is the same run."""
    return f"reconcile-{account_slug}-{key}"


def discrepancy_workflow_id(discrepancy_id: UUID) -> str:
    return f"discrepancy-{discrepancy_id}"
