"""A trade workflow that is wrong on purpose: it sends before it has reserved."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.orders import OrderState
    from workflows.trade import TradeWorkflow
    from workflows.trade_messages import TradeAck, TradeInput


@workflow.defn(name="TradeWorkflow")
class HastyTrade(TradeWorkflow):
    @workflow.init
    def __init__(self, trade: TradeInput) -> None:
        super().__init__(trade)

    @workflow.run
    async def run(self, trade: TradeInput) -> TradeAck:
        await self._accept()
        progress = await self._submit()
        while progress.state is not OrderState.FILLED:
            progress = await self._await_fills()
        self._decided = True
        return self._ack()
