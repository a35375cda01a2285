"""One trade: accept → reserve → submit → await fills → settle.

1. `run` does the work from its own argument; updates only wait for it or ask for more.
2. The books decide: every step returns the trade as they have it, and may be repeated.
3. A submit is never retried by Temporal; another try is made only where no claim was ever stored.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.commands import CancelOrder, CommandActivities, ModifyOrder
    from activities.commands import CommandAnswer as OrderCommandAnswer
    from activities.reserving import ReserveTrade
    from activities.sends import SearchTrade, SenderActivities, SubmitTrade
    from activities.trades import AcceptTrade, DecideTrade, LostSubmit, TradeActivities, TradeStep
    from domain.commands import Command, CommandEnd
    from domain.errors import CommandConflict, NotCancellable, NotUnresolved
    from domain.orders import OrderState
    from domain.trades import TradeProgress
    from workflows import cards
    from workflows.queues import broker_queue
    from workflows.retries import (
        BROKER_REPEATABLE,
        FACTS_PAUSE,
        RESOLVE_INTERVALS,
        SAFETY_POLLS,
        START_MARGIN,
        SUBMIT,
        SUBMIT_PAUSE,
        at_broker,
    )
    from workflows.search_attributes import NEEDS_ATTENTION, STATE
    from workflows.steps import forgotten, in_books, refresh, root, was_begun_before, was_started
    from workflows.trade_messages import (
        CancelTrade,
        CommandAnswer,
        ModifyTrade,
        ResolveTrade,
        TradeAck,
        TradeInput,
    )

_COMMANDABLE = frozenset({OrderState.PENDING, OrderState.WORKING, OrderState.PARTIALLY_FILLED})

Step = TypeVar("Step")
Answer = TypeVar("Answer")
Asked = TypeVar("Asked")


@workflow.defn
class TradeWorkflow:
    @workflow.init
    def __init__(self, trade: TradeInput) -> None:
        self._intent = trade.intent
        self._account_slug = trade.account_slug
        self._queue = broker_queue(trade.account_slug)
        self._recovering = trade.recovering
        self._step = TradeStep(trade_id=trade.intent.trade_id)
        self._progress: TradeProgress | None = None
        self._decided = False
        self._sender_had_it = False
        self._news = False
        self._unsettled = True
        self._search_count = 0
        self._poll_count = 0
        self._shown = (OrderState.PENDING, False)

    @workflow.run
    async def run(self, trade: TradeInput) -> TradeAck:
        try:
            return await self._live(trade)
        except FailureError as error:
            if not forgotten(error):
                raise
            workflow.logger.warning("the books do not have the trade any more; it is taken up anew")
        return await self._recover(trade)

    async def _live(self, trade: TradeInput) -> TradeAck:
        progress = await self._accept()
        if progress.body_hash == self._intent.body_hash:
            if progress.state is OrderState.PENDING and was_begun_before() and not self._recovering:
                return await self._recover(trade)
            if progress.state is OrderState.PENDING:
                progress = await self._reserve(trade)
            if progress.state is OrderState.PENDING:
                progress = await self._submit()
            while not progress.final:
                self._rest(progress)
                await self._stay_short(trade)
                if progress.state is OrderState.PENDING:
                    return await self._recover(trade)
                if progress.state is OrderState.UNRESOLVED:
                    progress = await self._resolve()
                else:
                    progress = await self._await_fills()
            while self._unsettled:
                self._unsettled = False
                progress = await self._settle()
                if not progress.final:
                    return await self._recover(trade)
                self._rest(progress)
                # A command may outlive the settlement, and meanwhile the books be put back to before it.
                await workflow.wait_condition(workflow.all_handlers_finished)
        self._decided = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._ack()

    @workflow.update(description="the first answer to the trader, once the trade is decided")
    async def opened(self) -> TradeAck:
        await workflow.wait_condition(lambda: self._decided)
        return self._ack()

    @workflow.update(description="cancel what is not filled; a fill may beat it")
    async def cancel(self, command: CancelTrade) -> CommandAnswer:
        return await self._carry_out(
            CommandActivities.cancel_order,
            CancelOrder(command=self._stored("cancel", command)),
            summary=f"cancel {self._intent}",
        )

    @workflow.update(description="change the levels of a working order")
    async def modify(self, command: ModifyTrade) -> CommandAnswer:
        return await self._carry_out(
            CommandActivities.modify_order,
            ModifyOrder(command=self._stored("modify", command), changes=command.changes),
            summary=f"modify {self._intent}",
        )

    @workflow.update(description="a person's word on what became of the send")
    async def resolve(self, command: ResolveTrade) -> CommandAnswer:
        decision = DecideTrade(
            command=self._stored("resolve", command),
            broker_order_id=command.broker_order_id,
            reason=command.reason,
        )
        try:
            progress = await in_books(TradeActivities.decide, decision, summary="a person decides")
        except FailureError as error:
            return self._refused(error)
        self._news = True
        return CommandAnswer(outcome=CommandEnd.DONE, reason=command.reason, state=progress.state, conflict=False)

    @cancel.validator
    def _may_cancel(self, command: CancelTrade) -> None:  # noqa: ARG002 - the signature is the update's
        self._check_commandable()

    @modify.validator
    def _may_modify(self, command: ModifyTrade) -> None:  # noqa: ARG002 - the signature is the update's
        self._check_commandable()

    @resolve.validator
    def _may_resolve(self, command: ResolveTrade) -> None:  # noqa: ARG002 - the signature is the update's
        state = self._known_state()
        if state is not OrderState.UNRESOLVED:
            raise ApplicationError(str(NotUnresolved(state)), type=NotUnresolved.code)

    @workflow.signal(description="the books have news of this trade")
    def booked(self) -> None:
        self._news = True

    async def _recover(self, trade: TradeInput) -> TradeAck:
        """Begin anew where the books were put back to a copy from before: store and hold again, and send nothing.

        The order's number at the broker comes with the trade, so a search finds what was sent before.
        """
        # Whoever waits for the first answer gets what is known, and finds the rest in the books.
        self._decided = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(replace(trade, recovering=True))

    async def _accept(self) -> TradeProgress:
        accepted = AcceptTrade(intent=self._intent, workflow_id=workflow.info().workflow_id)
        return self._take(await in_books(TradeActivities.accept, accepted, summary="store the intent"))

    async def _reserve(self, trade: TradeInput) -> TradeProgress:
        """Hold the risk, on the feed's data; where that is missing or old, once more on the broker's own.

        Only a recovering trade may lack a fact even then; it may be at the broker, so it waits.
        """
        wanted = ReserveTrade(trade_id=self._intent.trade_id, last=False, recovering=self._recovering)
        reserved = await in_books(TradeActivities.reserve, wanted, summary="reserve risk")
        while reserved.stale:
            if wanted.last:
                await self._stay_short(trade)
                await workflow.sleep(FACTS_PAUSE, summary="for a fact that the books miss")
            await refresh(self._account_slug, by=self._intent.submit_by)
            wanted = replace(wanted, last=True)
            reserved = await in_books(TradeActivities.reserve, wanted, summary="reserve risk on fresh data")
        return self._take(reserved.progress)

    async def _submit(self) -> TradeProgress:
        progress = self._known()
        while progress.state is OrderState.PENDING:
            options = at_broker(SUBMIT, queue=self._queue, summary=f"send {self._intent}")
            # No sender by the deadline: nothing has left. What the books forgot may have, so a sender looks first.
            if not self._recovering:
                options["schedule_to_start_timeout"] = max(self._intent.submit_by - workflow.now(), START_MARGIN)
            try:
                progress = self._take(
                    await workflow.execute_activity_method(
                        SenderActivities.submit,
                        SubmitTrade(trade_id=self._intent.trade_id, recovering=self._recovering),
                        **options,
                    )
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                workflow.logger.warning("the submit ended without an answer: %s", error.cause)
                self._sender_had_it = self._sender_had_it or was_started(error)
                progress = await (self._read() if self._recovering else self._give_up_sending())
                if progress.state is OrderState.PENDING:
                    await workflow.sleep(SUBMIT_PAUSE, summary="before another try, nothing was claimed")
                    if workflow.now() >= self._intent.submit_by:
                        # It died before its claim, or the books were put back since: only a search can tell.
                        return progress
        return progress

    async def _give_up_sending(self) -> TradeProgress:
        lost = LostSubmit(trade_id=self._intent.trade_id, started=self._sender_had_it)
        return self._take(await in_books(TradeActivities.give_up_sending, lost, summary="judge a lost submit"))

    async def _resolve(self) -> TradeProgress:
        """Wait a little, then search the broker once for what became of the send; a person may be first."""
        wait = RESOLVE_INTERVALS[min(self._search_count, len(RESOLVE_INTERVALS) - 1)]
        self._search_count += 1
        try:
            await workflow.wait_condition(lambda: self._news, timeout=wait, timeout_summary="the next search")
        except TimeoutError:
            return await self._search()
        return await self._read()

    async def _search(self) -> TradeProgress:
        """One search; a trade whose outcome is unknown is never given up because a search failed."""
        options = at_broker(BROKER_REPEATABLE, queue=self._queue, summary="search for the order")
        step = SearchTrade(trade_id=self._intent.trade_id)
        try:
            found = await workflow.execute_activity_method(SenderActivities.search, step, **options)
        except ActivityError as error:
            if is_cancelled_exception(error) or forgotten(error):
                raise
            workflow.logger.warning("a search ended without an answer: %s", error.cause)
            return self._known()
        return self._take(found)

    async def _await_fills(self) -> TradeProgress:
        """Wait until the feed booked something; the slow poll is for a signal that got lost."""
        try:
            wait = SAFETY_POLLS[min(self._poll_count, len(SAFETY_POLLS) - 1)]
            self._poll_count += 1
            await workflow.wait_condition(lambda: self._news, timeout=wait, timeout_summary="safety poll")
        except TimeoutError:
            workflow.logger.debug("no news within the safety poll")
        return await self._read()

    async def _stay_short(self, trade: TradeInput) -> None:
        """Go on in a new run before the server's limit on histories ends a trade that rests for days.

        The steps before find their own traces in the books, so the new run comes back to where this one is.
        """
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(trade)

    async def _read(self) -> TradeProgress:
        self._news = False
        return self._take(await in_books(TradeActivities.read_progress, self._step, summary="read the books"))

    async def _settle(self) -> TradeProgress:
        return self._take(await in_books(TradeActivities.settle, self._step, summary="settle"))

    async def _carry_out(
        self,
        step: Callable[[CommandActivities, Asked], Awaitable[OrderCommandAnswer]],
        argument: Asked,
        *,
        summary: str,
    ) -> CommandAnswer:
        await workflow.wait_condition(lambda: self._known_state() is not OrderState.PENDING)
        try:
            answer = await workflow.execute_activity_method(
                step, argument, **at_broker(BROKER_REPEATABLE, queue=self._queue, summary=summary)
            )
        except ActivityError as error:
            return self._refused(error)
        finally:
            self._unsettled = True
        # `run` may have read the books meanwhile; it reads them again, so the newer state always wins.
        self._news = True
        result, state = answer.result, answer.progress.state
        return CommandAnswer(outcome=result.outcome, reason=result.reason, state=state, conflict=False)

    def _refused(self, error: FailureError) -> CommandAnswer:
        """The answer to a command that our own rules refuse; any other failure goes on."""
        cause = root(error)
        if not isinstance(cause, ApplicationError) or not cause.non_retryable:
            raise error
        conflict = cause.type == CommandConflict.code
        return CommandAnswer(
            outcome=CommandEnd.REFUSED, reason=cause.message, state=self._known().state, conflict=conflict
        )

    def _stored(self, kind: str, asked: CancelTrade | ModifyTrade | ResolveTrade) -> Command:
        return Command(
            trade_id=self._intent.trade_id,
            key=asked.key,
            kind=kind,
            body_hash=asked.body_hash,
            requested_by=asked.requested_by,
        )

    def _check_commandable(self) -> None:
        state = self._known_state()
        if state not in _COMMANDABLE:
            raise ApplicationError(str(NotCancellable(state)), type=NotCancellable.code)

    def _take(self, progress: TradeProgress) -> TradeProgress:
        self._progress = progress
        return progress

    def _known(self) -> TradeProgress:
        assert self._progress is not None, "the trade is accepted before anything else"
        return self._progress

    def _known_state(self) -> OrderState:
        return OrderState.PENDING if self._progress is None else self._progress.state

    def _rest(self, progress: TradeProgress) -> None:
        """Show a state in which an operator may find the trade, and let the waiting caller have it."""
        workflow.set_current_details(cards.card(self._intent, progress))
        showing = (progress.state, progress.needs_attention)
        if showing != self._shown:
            workflow.upsert_search_attributes(
                [STATE.value_set(progress.state.value), NEEDS_ATTENTION.value_set(progress.needs_attention)]
            )
            self._shown = showing
        self._decided = True

    def _ack(self) -> TradeAck:
        progress = self._known()
        return TradeAck(trade_id=progress.trade_id, body_hash=progress.body_hash, state=progress.state)
