"""An error of the domain reaches Temporal by its stable name, with word whether a repeat can help."""

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.failures import FailureInterceptor
from domain.errors import BrokerUnavailable, IllegalTransition


class Failing(ActivityInboundInterceptor):
    """The end of the chain: an activity that raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def execute_activity(self, input: ExecuteActivityInput) -> object:  # noqa: A002 - the SDK's name
        raise self._error


async def failure_of(error: Exception) -> BaseException:
    chain = FailureInterceptor().intercept_activity(Failing(error))

    @activity.defn
    async def run() -> None:
        await chain.execute_activity(ExecuteActivityInput(fn=run, args=(), executor=None, headers={}))

    with pytest.raises(Exception) as raised:  # noqa: PT011 - the kind is what the callers assert
        await ActivityEnvironment().run(run)
    return raised.value


async def test_a_decision_is_not_asked_for_again() -> None:
    failure = await failure_of(IllegalTransition("filled", "placed"))
    assert isinstance(failure, ApplicationError)
    assert (failure.type, failure.non_retryable) == ("illegal_transition", True)


async def test_what_time_mends_is_repeated() -> None:
    failure = await failure_of(BrokerUnavailable("no answer"))
    assert isinstance(failure, ApplicationError)
    assert (failure.type, failure.non_retryable, failure.message) == ("broker_unavailable", False, "no answer")


async def test_any_other_error_passes_unchanged() -> None:
    error = ZeroDivisionError()
    assert await failure_of(error) is error
