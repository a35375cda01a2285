"""What a reversal's workflow takes and answers, and how it is started."""

from dataclasses import dataclass
from uuid import UUID

from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from workflows.queues import PIPELINE
from workflows.search_attributes import ACCOUNT, SYMBOL, USER
from workflows.trade_messages import StartOptions, TradeInput

REVERSAL_WORKFLOW = "ReversalWorkflow"

# The opening order is named for the order that closes.
OPENING_SUFFIX = ".open"


@dataclass(frozen=True, kw_only=True)
class ReversalInput:
    """The two trades; both have one deadline, `submit_by`."""

    closing: TradeInput
    opening: TradeInput


@dataclass(frozen=True, kw_only=True)
class ReversalAck:
    """`refusal` says why the opening order is not sent; None if its trade was started."""

    refusal: str | None


def opening_order_id(client_order_id: str) -> str:
    return f"{client_order_id}{OPENING_SUFFIX}"


def reversal_id(user_id: UUID, client_order_id: str) -> str:
    return f"reversal-{user_id}-{client_order_id}"


def reversal_options(reversal: ReversalInput) -> StartOptions:
    closing, opening = reversal.closing.intent, reversal.opening.intent
    return {
        "id": reversal_id(closing.user_id, closing.client_order_id),
        "task_queue": PIPELINE,
        "static_summary": f"{closing}, then {opening}",
        "search_attributes": TypedSearchAttributes(
            [
                SearchAttributePair(USER, str(closing.user_id)),
                SearchAttributePair(ACCOUNT, reversal.closing.account_slug),
                SearchAttributePair(SYMBOL, closing.symbol),
            ]
        ),
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
    }
