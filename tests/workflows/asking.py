"""What a test asks of a running trade and of the simulated broker's books."""

from uuid import UUID

from brokers.simulator.control import Send
from db.trades import Trade
from db.verify import verify
from domain.orders import Changes, OrderIntent
from domain.trades import workflow_id
from tests.desk import Desk
from tests.waiting import until
from workflows.trade_messages import CancelTrade, CommandAnswer, ModifyTrade


async def cancel(desk: Desk, intent: OrderIntent, *, key: str = "cancel-1", body_hash: str = "-") -> CommandAnswer:
    handle = desk.client.get_workflow_handle(workflow_id(intent.user_id, intent.client_order_id))
    command = CancelTrade(key=key, requested_by=desk.user_id, body_hash=body_hash)
    answer: CommandAnswer = await handle.execute_update("cancel", command, result_type=CommandAnswer)
    return answer


async def modify(
    desk: Desk, intent: OrderIntent, changes: Changes, *, key: str = "modify-1", body_hash: str = "-"
) -> CommandAnswer:
    handle = desk.client.get_workflow_handle(workflow_id(intent.user_id, intent.client_order_id))
    command = ModifyTrade(key=key, requested_by=desk.user_id, body_hash=body_hash, changes=changes)
    answer: CommandAnswer = await handle.execute_update("modify", command, result_type=CommandAnswer)
    return answer


def sends_of(desk: Desk, trade: Trade) -> list[Send]:
    """The sends that reached the broker under the trade's number."""
    return [send for send in desk.control.books().sends if send.magic == trade.progress.magic]


async def reservation_state(desk: Desk, intent: OrderIntent) -> str | None:
    state = await desk.scalar("SELECT state FROM risk_reservations WHERE trade_id = :id", id=intent.trade_id)
    return None if state is None else str(state)


async def event_kinds(desk: Desk, trade_id: UUID) -> list[str]:
    rows = await desk.rows("SELECT kind FROM events WHERE trade_id = :id ORDER BY id", id=trade_id)
    return [row["kind"] for row in rows]


async def broken_laws(desk: Desk) -> list[str]:
    """What `nexus verify` finds wrong once the broker's newest snapshot is younger than the last booking."""

    async def shown() -> bool:
        return bool(
            await desk.scalar(
                "SELECT max(read_at) > (SELECT max(booked_at) + interval '1 second' FROM fills)"
                " FROM account_snapshots"
            )
        )

    await until(shown, what="a snapshot after the last booking")
    async with desk.engine.connect() as connection:
        results = await verify(connection)
    return [violation for result in results for violation in result.violations]
