"""Running trades survive a deployment: their histories replay through the code as it is now.

A change of a workflow that fails here would strand those that are open when it is deployed.
"""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from tests.desk import Desk
from tests.replay.hasty import HastyTrade
from tests.replay.scenarios import SCENARIOS
from workflows.discrepancy import DiscrepancyWorkflow
from workflows.emergency_stop import EmergencyStopWorkflow
from workflows.reconciliation import ReconciliationWorkflow
from workflows.reversal import ReversalWorkflow
from workflows.trade import TradeWorkflow

pytestmark = pytest.mark.replay

WORKFLOWS = (
    TradeWorkflow,
    ReversalWorkflow,
    EmergencyStopWorkflow,
    ReconciliationWorkflow,
    DiscrepancyWorkflow,
)
HISTORIES = Path(__file__).parent / "histories"


def replayer(*workflows: type) -> Replayer:
    return Replayer(
        workflows=workflows,
        data_converter=pydantic_data_converter,
        workflow_runner=SandboxedWorkflowRunner(),
    )


def saved(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(name, (HISTORIES / f"{name}.json").read_text(encoding="utf-8"))


async def test_what_just_ran_replays(desk: Desk, request: pytest.FixtureRequest) -> None:
    """Also the place where histories are written: `pytest tests/replay --save-histories`."""
    for name, scenario in SCENARIOS.items():
        handle = desk.client.get_workflow_handle(await scenario(desk))
        await handle.result()
        history = await handle.fetch_history()
        await replayer(*WORKFLOWS).replay_workflow(history)
        if request.config.getoption("save_histories", default=False):
            # The worker's identity names this machine and process.
            text = history.to_json().replace(desk.client.identity, "worker")
            (HISTORIES / f"{name}.json").write_text(text + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", sorted(SCENARIOS))
async def test_a_saved_history_replays(name: str) -> None:
    await replayer(*WORKFLOWS).replay_workflow(saved(name))


def test_every_saved_history_has_its_scenario() -> None:
    assert {path.stem for path in HISTORIES.glob("*.json")} == set(SCENARIOS)


async def test_a_workflow_that_takes_other_steps_is_found_out() -> None:
    with pytest.raises(NondeterminismError):
        await replayer(HastyTrade).replay_workflow(saved("market_order_filled"))
