"""The edge to Temporal: a domain error becomes an ApplicationError that says whether a repeat can help."""

from typing import Any

from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from domain.errors import (
    AccountNotFound,
    BrokerMismatch,
    BrokerUnavailable,
    CauseRemains,
    ClockMismatch,
    CommandConflict,
    ContractsUnchanged,
    DecisionRefused,
    DiscrepancyDecided,
    DiscrepancyNotFound,
    IllegalTransition,
    IntentConflict,
    LeaseLost,
    LimitTermRefused,
    LimitValueRefused,
    LooseningRefused,
    NotCancellable,
    NotStopped,
    NotUnresolved,
    OrderTaken,
    PipelineError,
    PositionNotFound,
    ReservationConflict,
    StopConflict,
    StopNotFound,
    StopPlaceUnknown,
    TradeNotFound,
)

# A repeat helps where time mends the cause; the others are decisions, and asking again gets the same one.
REPEAT_HELPS: dict[type[PipelineError], bool] = {
    AccountNotFound: False,
    # The terminal is logged in to its own account again by a person, or by the next attachment.
    BrokerMismatch: True,
    BrokerUnavailable: True,
    CauseRemains: False,
    ClockMismatch: False,
    CommandConflict: False,
    ContractsUnchanged: False,
    DecisionRefused: False,
    DiscrepancyDecided: False,
    DiscrepancyNotFound: False,
    IllegalTransition: False,
    IntentConflict: False,
    LeaseLost: True,
    LimitTermRefused: False,
    LimitValueRefused: False,
    LooseningRefused: False,
    NotCancellable: False,
    NotStopped: False,
    NotUnresolved: False,
    OrderTaken: False,
    PositionNotFound: False,
    ReservationConflict: False,
    StopConflict: False,
    StopNotFound: False,
    StopPlaceUnknown: False,
    TradeNotFound: False,
}


class FailureInterceptor(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        return _Inbound(next)


class _Inbound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        try:
            return await super().execute_activity(input)
        except PipelineError as error:
            raise ApplicationError(
                str(error), type=error.code, non_retryable=not REPEAT_HELPS[type(error)]
            ) from error
