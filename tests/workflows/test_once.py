"""One trade, one send: however often it is started, and wherever it is begun again."""

import asyncio
from uuid import uuid4

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from brokers.simulator.faults import Delay
from domain.orders import OrderIntent, OrderState
from domain.trades import workflow_id
from tests.desk import Desk
from tests.waiting import until
from tests.workflows.asking import sends_of
from workflows.trade_messages import TradeAck, TradeInput, start_options


async def reset_to_the_beginning(desk: Desk, intent: OrderIntent) -> str:
    """Begin the workflow again from its first task, as the Web UI offers it; the new run's id."""
    name = workflow_id(intent.user_id, intent.client_order_id)
    history = await desk.client.get_workflow_handle(name).fetch_history()
    first_task = next(
        event.event_id
        for event in history.events
        if event.event_type
        in {EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED}
    )
    answer = await desk.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=desk.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=name, run_id=history.run_id),
            reason="test",
            request_id=str(uuid4()),
            workflow_task_finish_event_id=first_task,
        )
    )
    return answer.run_id


async def test_fifty_starts_at_once_are_one_trade(desk: Desk) -> None:
    intent = desk.intent()

    acks = await asyncio.gather(*(desk.execute(intent) for _ in range(50)))

    assert {(ack.trade_id, ack.state) for ack in acks} == {(intent.trade_id, OrderState.FILLED)}
    assert await desk.scalar("SELECT count(*) FROM trade_ledger") == 1
    assert len(sends_of(desk, await desk.trade(intent))) == 1
    assert len(desk.control.books().positions) == 1


async def test_a_second_run_under_the_same_id_is_answered_with_the_first_trade(desk: Desk) -> None:
    """As after Temporal's retention: the id is free again there, and taken for ever in the books."""
    intent = desk.intent()
    await desk.execute(intent)
    trade = TradeInput(intent=intent, account_slug=desk.slug)
    options = start_options(trade)
    options["id"] = f"again-{intent.client_order_id}"

    ack = await desk.client.execute_workflow("TradeWorkflow", trade, result_type=TradeAck, **options)

    assert ack.state is OrderState.FILLED
    assert len(sends_of(desk, await desk.trade(intent))) == 1


async def test_a_reset_of_a_finished_trade_sends_nothing(desk: Desk) -> None:
    intent = desk.intent()
    await desk.execute(intent)
    before = await desk.settled(intent)

    run_id = await reset_to_the_beginning(desk, intent)
    handle = desk.client.get_workflow_handle(workflow_id(intent.user_id, intent.client_order_id), run_id=run_id)
    await handle.result()

    assert await desk.trade(intent) == before
    assert len(sends_of(desk, before)) == 1


async def test_a_reset_while_the_send_is_under_way_does_not_send_again(desk: Desk) -> None:
    desk.control.script("EURUSD", [Delay(ms=1200)])
    intent = desk.intent()
    waiting = asyncio.create_task(desk.execute(intent))

    async def claimed() -> bool:
        return bool(await desk.scalar("SELECT count(*) FROM send_attempts"))

    await until(claimed, what="the send to be claimed")
    await reset_to_the_beginning(desk, intent)

    trade = await desk.settled(intent)
    assert trade.state is OrderState.FILLED
    assert len(sends_of(desk, trade)) == 1
    assert len(desk.control.books().positions) == 1
    await asyncio.gather(waiting, return_exceptions=True)
