"""Steps in our own books, and what a failed one means."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TimeoutType,
    is_cancelled_exception,
)
from temporalio.exceptions import TimeoutError as ActivityTimeout
from temporalio.workflow import ActivityConfig, LocalActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.feed import FeedActivities, FollowAccount
    from domain.errors import TradeNotFound
    from workflows.queues import broker_queue
    from workflows.retries import BOOKS, BOOKS_PATIENT, BROKER_REPEATABLE, START_MARGIN, at_broker

Step = TypeVar("Step")
Answer = TypeVar("Answer")
Host = TypeVar("Host")


async def in_books(step: Callable[[Host, Step], Awaitable[Answer]], argument: Step, *, summary: str) -> Answer:
    """A step in our own database: in this very task, or patiently while PostgreSQL is away."""
    try:
        local: LocalActivityConfig = {**BOOKS, "summary": summary}
        return await workflow.execute_local_activity_method(step, argument, **local)
    except FailureError as error:
        # A local activity's own failure arrives bare, not wrapped as a regular one's.
        if is_cancelled_exception(error) or getattr(root(error), "non_retryable", False):
            raise
        patient: ActivityConfig = {**BOOKS_PATIENT, "summary": summary}
        return await workflow.execute_activity_method(step, argument, **patient)


async def refresh(account_slug: str, *, by: datetime) -> None:
    """Have the feed read account and market now, unless `by` passes before it is done."""
    options = at_broker(BROKER_REPEATABLE, queue=broker_queue(account_slug), summary="read account and market")
    options["schedule_to_close_timeout"] = max(by - workflow.now(), START_MARGIN)
    try:
        await workflow.execute_activity_method(
            FeedActivities.refresh, FollowAccount(account_slug=account_slug), **options
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        # The gates then say themselves what they are missing.
        workflow.logger.warning("the broker could not be read: %s", error.cause)


def forgotten(error: FailureError) -> bool:
    """Whether the books do not have the trade: they were put back to a copy from before it."""
    cause = root(error)
    return isinstance(cause, ApplicationError) and cause.type == TradeNotFound.code


def was_begun_before() -> bool:
    """Whether an earlier run has begun this work, as before a reset: what it did, only the outside can tell."""
    info = workflow.info()
    return info.run_id != info.first_execution_run_id


def was_started(error: ActivityError) -> bool:
    """Whether a worker may have had the activity: false only for one that nobody fetched in time."""
    cause = root(error)
    return not (isinstance(cause, ActivityTimeout) and cause.type is TimeoutType.SCHEDULE_TO_START)


def root(error: BaseException) -> BaseException:
    """The failure inside the wrappers that Temporal puts around it."""
    while isinstance(error, ActivityError) and error.cause is not None:
        error = error.cause
    return error
