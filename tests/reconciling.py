"""Runs of the reconciliation on a desk, and what they left in the books."""

import itertools
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from activities.conclusions import Concluded
from db import stops
from domain.controls import ControlScope
from domain.discrepancies import Decision
from domain.errors import NotStopped
from domain.reconciliation import RunCause, Verdict
from tests.desk import Desk
from workflows.discrepancy import DiscrepancyWorkflow
from workflows.reconciliation_messages import Decide, discrepancy_workflow_id
from workflows.reconciliation_schedule import start_run

# Longer than the quiet period of a desk.
CONFIRM_AFTER = timedelta(milliseconds=400)

_runs = itertools.count(1)


async def reconcile(desk: Desk, *, cause: RunCause = RunCause.REQUEST, key: str | None = None) -> Concluded:
    """One run, to its end."""
    key = key or f"run-{next(_runs)}"
    run = await start_run(desk.client, desk.slug, cause=cause, key=key, confirm_after=CONFIRM_AFTER)
    return await run.result()


async def run_row(desk: Desk, run_id: UUID) -> dict[str, Any]:
    (row,) = await desk.rows("SELECT * FROM reconciliation_log WHERE id = :id", id=run_id)
    return row


async def causes_of(desk: Desk, run_id: UUID) -> dict[str, int]:
    """How many records proved each cause in this run."""
    row = await run_row(desk, run_id)
    return {each["cause"]: each["count"] for each in row["explained"]}


async def discrepancies_of(desk: Desk, **where: Any) -> list[dict[str, Any]]:
    """The discrepancies with these columns, the oldest first."""
    only = "".join(f" AND {column} = :{column}" for column in where)
    found = f"SELECT * FROM discrepancies WHERE account_id = :account_id{only} ORDER BY found_at, id"
    return await desk.rows(found, account_id=desk.account_id, **where)


async def decide(desk: Desk, discrepancy_id: UUID, decision: Decision, *, reason: str = "looked at it") -> None:
    """A person's word, as the API gives it to the discrepancy's workflow."""
    handle = desk.client.get_workflow_handle_for(DiscrepancyWorkflow.run, discrepancy_workflow_id(discrepancy_id))
    said = Decide(decision=decision, decided_by="user:risk", reason=reason)
    _ = await handle.execute_update(DiscrepancyWorkflow.decide, said)


async def entered(desk: Desk, code: str) -> list[Any]:
    """The amounts on a ledger account, in the order in which they were entered."""
    rows = await desk.rows(
        "SELECT e.amount FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.ledger_account_id"
        " WHERE a.code = :code ORDER BY e.posted_at",
        code=code,
    )
    return [row["amount"] for row in rows]


async def settle(desk: Desk) -> None:
    """A person accepts what waits and lifts the stop, and a new day begins."""
    for row in await discrepancies_of(desk, state="open"):
        await decide(desk, row["id"], Decision.ACCEPT)
    assert (await reconcile(desk)).verdict is Verdict.CLEAN
    async with desk.engine.begin() as connection:
        with suppress(NotStopped):
            await stops.stopped(connection, ControlScope.ACCOUNT, desk.slug)
            await stops.resume(connection, ControlScope.ACCOUNT, desk.slug, actor="test", reason="settled")
        await connection.exec_driver_sql("ALTER TABLE discrepancies DISABLE TRIGGER USER")
        await connection.exec_driver_sql(
            "UPDATE discrepancies"
            " SET found_at = found_at - interval '2 days', ended_at = ended_at - interval '2 days'"
        )
        await connection.exec_driver_sql("ALTER TABLE discrepancies ENABLE TRIGGER USER")
