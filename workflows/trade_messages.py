"""What a trade's workflow takes and answers, and how it is started: the contract with those who call it."""

from dataclasses import dataclass
from typing import TypedDict
from uuid import UUID

from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from domain.commands import CommandEnd
from domain.orders import Changes, OrderIntent, OrderState
from domain.trades import workflow_id
from workflows.queues import PIPELINE
from workflows.search_attributes import ACCOUNT, NEEDS_ATTENTION, STATE, SYMBOL, USER

TRADE_WORKFLOW = "TradeWorkflow"
OPENED_UPDATE_ID = "opened"


@dataclass(frozen=True, kw_only=True)
class TradeInput:
    """`recovering` begins a trade anew that the books no longer have as far as it had come: they were put back."""

    intent: OrderIntent
    account_slug: str
    recovering: bool = False


@dataclass(frozen=True, kw_only=True)
class TradeAck:
    """The first answer. Another `body_hash` than the caller's means that the id belongs to another order."""

    trade_id: UUID
    body_hash: str
    state: OrderState


@dataclass(frozen=True, kw_only=True)
class CancelTrade:
    key: str
    requested_by: UUID
    body_hash: str


@dataclass(frozen=True, kw_only=True)
class ModifyTrade:
    key: str
    requested_by: UUID
    body_hash: str
    changes: Changes


@dataclass(frozen=True, kw_only=True)
class ResolveTrade:
    """A person's word on an unresolved trade: the order's number at the broker, or None for no order at all."""

    key: str
    requested_by: UUID
    body_hash: str
    broker_order_id: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class CommandAnswer:
    """With `conflict`, the key was used for another command."""

    outcome: CommandEnd
    reason: str | None
    state: OrderState
    conflict: bool


class StartOptions(TypedDict):
    id: str
    task_queue: str
    static_summary: str
    search_attributes: TypedSearchAttributes
    id_conflict_policy: WorkflowIDConflictPolicy
    id_reuse_policy: WorkflowIDReusePolicy


def start_options(trade: TradeInput) -> StartOptions:
    intent = trade.intent
    return {
        "id": workflow_id(intent.user_id, intent.client_order_id),
        "task_queue": PIPELINE,
        "static_summary": str(intent),
        "search_attributes": TypedSearchAttributes(
            [
                SearchAttributePair(USER, str(intent.user_id)),
                SearchAttributePair(ACCOUNT, trade.account_slug),
                SearchAttributePair(SYMBOL, intent.symbol),
                SearchAttributePair(STATE, OrderState.PENDING.value),
                SearchAttributePair(NEEDS_ATTENTION, False),
            ]
        ),
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        # Temporal forgets closed ids after its retention; the unique key in the books never does.
        "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
    }
