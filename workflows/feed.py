"""The account's feed as a workflow without end: one long activity after another."""

from dataclasses import dataclass
from typing import TypedDict

from temporalio import workflow
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.feed import FeedActivities, FollowAccount
    from workflows.queues import PIPELINE, broker_queue
    from workflows.retries import FEED, at_broker


@dataclass(frozen=True, kw_only=True)
class FeedInput:
    account_slug: str


def workflow_id(account_slug: str) -> str:
    return f"feed-{account_slug}"


class StartOptions(TypedDict):
    id: str
    task_queue: str
    id_conflict_policy: WorkflowIDConflictPolicy
    static_summary: str


def start_options(account_slug: str) -> StartOptions:
    return {
        "id": workflow_id(account_slug),
        "task_queue": PIPELINE,
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        "static_summary": f"feed of account {account_slug}",
    }


@workflow.defn
class FeedWorkflow:
    @workflow.run
    async def run(self, feed: FeedInput) -> None:
        try:
            await workflow.execute_activity_method(
                FeedActivities.follow,
                FollowAccount(account_slug=feed.account_slug),
                **at_broker(
                    FEED, queue=broker_queue(feed.account_slug), summary=f"follow account {feed.account_slug}"
                ),
            )
        except ActivityError:
            # The activity's own retries have no end; whatever ends it is met by a fresh stretch.
            workflow.logger.warning("the feed of %s ended and starts anew", feed.account_slug)
        workflow.continue_as_new(feed)
