"""A position of a desk reversed, as the API does it."""

from typing import Any

from temporalio.client import WithStartWorkflowOperation

from db.trades import Trade
from domain.orders import OrderIntent, Side
from tests.desk import Desk
from tests.workflows.holding import closing
from workflows.reversal import ReversalWorkflow
from workflows.reversal_messages import ReversalAck, ReversalInput, reversal_options
from workflows.trade_messages import OPENED_UPDATE_ID, TradeInput


def pair(desk: Desk, position: Trade, **changes: Any) -> tuple[OrderIntent, OrderIntent]:
    """The close of a long position of 0.10 lots, and an order that opens a short one."""
    position_id = position.progress.broker_order_id
    assert position_id is not None
    close = closing(desk, position_id, **changes)
    opening = desk.intent(
        client_order_id=f"{close.client_order_id}.open", side=Side.SELL, submit_by=close.submit_by
    )
    return close, opening


async def reverse(desk: Desk, close: OrderIntent, opening: OrderIntent) -> ReversalAck:
    wanted = ReversalInput(
        closing=TradeInput(intent=close, account_slug=desk.slug),
        opening=TradeInput(intent=opening, account_slug=desk.slug),
    )
    operation = WithStartWorkflowOperation(ReversalWorkflow.run, wanted, **reversal_options(wanted))
    return await desk.client.execute_update_with_start_workflow(
        ReversalWorkflow.opened, start_workflow_operation=operation, id=OPENED_UPDATE_ID
    )
