"""A trade that rests for days outlives the server's limit on histories."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from domain.commands import CommandEnd
from domain.money import Price
from domain.orders import OrderState, OrderType
from stack.scratch import Database
from stack.temporal import binary, dynamic_config_flags, prepare_namespace
from tests.desk import Desk, open_desk
from tests.waiting import until
from workflows.search_attributes import KEYS
from workflows.trade import TradeWorkflow
from workflows.trade_messages import CancelTrade

EVENTS_SUGGESTED = 30


@pytest.fixture
async def short_desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk whose server asks workflows to go on in a new run after a few events."""
    limit = ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={EVENTS_SUGGESTED}"]
    env = await WorkflowEnvironment.start_local(
        data_converter=pydantic_data_converter,
        dev_server_existing_path=str(binary()),
        dev_server_log_level="error",
        dev_server_extra_args=[*dynamic_config_flags(), *limit],
    )
    async with env:
        await prepare_namespace(env.client, KEYS)
        async with open_desk(database, env.client, tmp_path) as desk:
            yield desk


async def run_id(client: Client, workflow_id: str) -> str:
    description = await client.get_workflow_handle(workflow_id).describe()
    assert description.run_id is not None
    return description.run_id


async def test_a_resting_order_goes_on_in_a_new_run_and_is_cancelled_there(short_desk: Desk) -> None:
    desk = short_desk
    intent = desk.intent(order_type=OrderType.LIMIT, price=Price(Decimal("1.01000")))
    handle, ack = await desk.open(intent)
    assert ack.state is OrderState.WORKING
    first = await run_id(desk.client, handle.id)

    async def in_a_new_run() -> bool:
        await desk.client.get_workflow_handle(handle.id).signal(TradeWorkflow.booked)
        return await run_id(desk.client, handle.id) != first

    await until(in_a_new_run, what="a new run of the trade", poll_seconds=0.1)
    command = CancelTrade(key="c", requested_by=desk.user_id, body_hash="cancel")
    answer = await desk.client.get_workflow_handle(handle.id).execute_update(TradeWorkflow.cancel, command)

    assert answer.outcome is CommandEnd.DONE
    assert (await desk.settled(intent)).state is OrderState.CANCELLED
    assert len(desk.control.books().sends) == 2
