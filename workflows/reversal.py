"""A position reversed: its close, and after that, and only after that, an opening order of the other side.

1. Both are ordinary trades under ids of their own; what becomes of this workflow never touches a running one.
2. The opening trade is started at most once, behind a close that filled in full, before the deadline of both.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.feed import FeedActivities, FollowAccount
    from domain.reversals import DEADLINE_PASSED, OPENING_ID_TAKEN, refusal_to_open
    from workflows.children import start_trade
    from workflows.queues import broker_queue
    from workflows.retries import BROKER_REPEATABLE, at_broker
    from workflows.reversal_messages import ReversalAck, ReversalInput
    from workflows.trade_messages import TradeAck, TradeInput

_START_MARGIN = timedelta(seconds=1)
_LEAST_TIMER = timedelta(milliseconds=1)

CLOSING_ID_TAKEN = "closing_id_taken"
CLOSE_FAILED = "close_failed"


@workflow.defn
class ReversalWorkflow:
    @workflow.init
    def __init__(self, reversal: ReversalInput) -> None:
        self._open_by = reversal.opening.intent.submit_by
        self._ack: ReversalAck | None = None

    @workflow.run
    async def run(self, reversal: ReversalInput) -> ReversalAck:
        refusal = await self._close(reversal.closing)
        if refusal is None:
            await self._show_the_close(reversal.closing)
            refusal = await self._open(reversal.opening)
        self._ack = ReversalAck(refusal=refusal)
        workflow.set_current_details(f"not opened: {refusal}" if refusal else "closed, and the other side started")
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._ack

    @workflow.update(description="whether the other side is opened")
    async def opened(self) -> ReversalAck:
        await workflow.wait_condition(lambda: self._ack is not None)
        assert self._ack is not None, "it was waited for"
        return self._ack

    async def _close(self, closing: TradeInput) -> str | None:
        """Close the position; why the other side is not to be opened, None if it is."""
        try:
            trade = await start_trade(closing)
        except WorkflowAlreadyStartedError:
            return CLOSING_ID_TAKEN
        try:
            # A close without an end by the deadline goes on by itself; nothing is opened behind it any more.
            wait = max(self._open_by - workflow.now(), _LEAST_TIMER)
            await workflow.wait_condition(trade.done, timeout=wait, timeout_summary="the deadline of both orders")
        except TimeoutError:
            return DEADLINE_PASSED
        if trade.exception() is not None:
            workflow.logger.warning("the close ended without an answer: %s", trade.exception())
            return CLOSE_FAILED
        ack: TradeAck = trade.result()
        if ack.body_hash != closing.intent.body_hash:
            return CLOSING_ID_TAKEN
        return refusal_to_open(ack.state, now=workflow.now(), open_by=self._open_by)

    async def _show_the_close(self, closing: TradeInput) -> None:
        """Bring the closed position out of the books, lest the gates count it beside the one to be opened."""
        options = at_broker(
            BROKER_REPEATABLE, queue=broker_queue(closing.account_slug), summary="read account and market"
        )
        options["schedule_to_close_timeout"] = max(self._open_by - workflow.now(), _START_MARGIN)
        step = FollowAccount(account_slug=closing.account_slug)
        try:
            await workflow.execute_activity_method(FeedActivities.refresh, step, **options)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            # The gates then count the position as still open, which refuses sooner, never later.
            workflow.logger.warning("the broker could not be read: %s", error.cause)

    async def _open(self, opening: TradeInput) -> str | None:
        if workflow.now() >= self._open_by:
            return DEADLINE_PASSED
        try:
            # It goes on without us, so its end is not waited for.
            _ = await start_trade(opening)
        except WorkflowAlreadyStartedError:
            return OPENING_ID_TAKEN
        return None
