"""Starting the workflow of a trade, or of two in a row, and waiting for its decision.

1. Nothing is answered as accepted unless the workflow server holds it durably.
2. A server that does not confirm within a second is away, whether it refuses, hangs or drowns.
3. A repeat joins the first run; nothing is started twice under one id.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.errors import pipeline_unavailable
from domain.errors import IntentConflict
from domain.orders import OrderIntent
from workflows.reversal_messages import REVERSAL_WORKFLOW, ReversalInput, reversal_options
from workflows.trade_messages import OPENED_UPDATE_ID, TRADE_WORKFLOW, StartOptions, TradeInput, start_options

# Most trades are decided before the first of these has passed, and then nobody asks whether they have started.
_PROOF_AFTER_SECONDS = 0.25
_PROOF_WITHIN_SECONDS = 0.45
_PROOF_POLL_SECONDS = 0.02
# The server answers a waiting update after this at the latest; we leave earlier by cancelling.
_RPC_TIMEOUT = timedelta(seconds=35)

_NO_ANSWER = (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError)


# The workflow of either is started by its name and answers `opened` once it is decided.
Startable = TradeInput | ReversalInput


async def start_and_wait(client: Client, wanted: Startable, *, wait_seconds: float) -> bool:
    """Start the workflow, or join it, and return whether it was decided before the wait was over.

    Either way it is durable; what was decided stands in the books. Raises IntentConflict, and a problem if the
    server is away.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    opening = asyncio.ensure_future(_open(client, wanted))
    try:
        await asyncio.wait({opening}, timeout=min(wait_seconds, _PROOF_AFTER_SECONDS))
        if opening.done():
            _check(opening)
            return True
        await _prove_started(client, wanted)
        await asyncio.wait({opening}, timeout=max(0.0, deadline - loop.time()))
        # A server that goes away now has the trade all the same.
        return opening.done() and opening.exception() is None
    finally:
        await _abandon(opening)


async def join_and_wait(client: Client, workflow_id: str, *, wait_seconds: float) -> None:
    """Return when a trade that the books know is decided, or the wait is over, or nobody can tell."""
    opening = asyncio.ensure_future(_join(client, workflow_id))
    try:
        await asyncio.wait({opening}, timeout=wait_seconds)
    finally:
        await _abandon(opening)


async def _open(client: Client, wanted: Startable) -> object:
    name = TRADE_WORKFLOW if isinstance(wanted, TradeInput) else REVERSAL_WORKFLOW
    operation: WithStartWorkflowOperation[object, object] = WithStartWorkflowOperation(
        name, wanted, **_options(wanted)
    )
    try:
        return await client.execute_update_with_start_workflow(
            OPENED_UPDATE_ID,
            start_workflow_operation=operation,
            id=OPENED_UPDATE_ID,
            rpc_timeout=_RPC_TIMEOUT,
        )
    except (*_NO_ANSWER, WorkflowAlreadyStartedError):
        # The operation keeps the same error in a future, which complains if nobody looks.
        with suppress(*_NO_ANSWER, WorkflowAlreadyStartedError):
            await operation.workflow_handle()
        raise


async def _join(client: Client, workflow_id: str) -> object:
    handle = client.get_workflow_handle(workflow_id)
    return await handle.execute_update(OPENED_UPDATE_ID, id=OPENED_UPDATE_ID, rpc_timeout=_RPC_TIMEOUT)


def _check(opening: asyncio.Future[object]) -> None:
    try:
        opening.result()
    except (WorkflowAlreadyStartedError, WorkflowUpdateFailedError):
        # The trade is there and over, or failed: either way the books have the last word.
        return
    except _NO_ANSWER as error:
        raise pipeline_unavailable() from error
    except RuntimeError as error:
        # What a client that has never reached the server raises.
        raise pipeline_unavailable() from error


async def _prove_started(client: Client, wanted: Startable) -> None:
    """Return once the history of the workflow is there and begins with our intent."""
    handle = client.get_workflow_handle(_options(wanted)["id"])
    try:
        async with asyncio.timeout(_PROOF_WITHIN_SECONDS):
            stored = await _stored_input(client, handle, type(wanted))
    except (TimeoutError, RPCError, RuntimeError) as error:
        raise pipeline_unavailable() from error
    if _first_intent(stored).body_hash != _first_intent(wanted).body_hash:
        raise IntentConflict(_first_intent(wanted).client_order_id)


async def _stored_input(
    client: Client, handle: WorkflowHandle[object, object], kind: type[Startable]
) -> Startable:
    while True:
        try:
            first = await anext(handle.fetch_history_events(page_size=1))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await asyncio.sleep(_PROOF_POLL_SECONDS)
            continue
        payloads = first.workflow_execution_started_event_attributes.input.payloads
        (stored,) = await client.data_converter.decode(payloads, [kind])
        assert isinstance(stored, kind), "a workflow is started with its input"
        return stored


def _options(wanted: Startable) -> StartOptions:
    return start_options(wanted) if isinstance(wanted, TradeInput) else reversal_options(wanted)


def _first_intent(wanted: Startable) -> OrderIntent:
    return wanted.intent if isinstance(wanted, TradeInput) else wanted.closing.intent


async def _abandon(opening: asyncio.Future[object]) -> None:
    """Leave a call that is still waiting, and look at its end so that nothing is reported as unseen."""
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
