"""Trades that another workflow starts: each runs on by itself, whatever becomes of who started it."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.trade import TradeWorkflow
    from workflows.trade_messages import TradeAck, TradeInput, start_options

TradeHandle = workflow.ChildWorkflowHandle[TradeWorkflow, TradeAck]


async def start_trade(trade: TradeInput) -> TradeHandle:
    """Start the trade under its own id, as the API would. Raises WorkflowAlreadyStartedError."""
    options = start_options(trade)
    return await workflow.start_child_workflow(
        TradeWorkflow.run,
        trade,
        id=options["id"],
        task_queue=options["task_queue"],
        static_summary=options["static_summary"],
        search_attributes=options["search_attributes"],
        id_reuse_policy=options["id_reuse_policy"],
        parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
    )
