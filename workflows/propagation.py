"""The request that asked for something goes with it: to the workflow, and on to the activities that do the work.

It travels in a header of each start, update and signal, never in a message, so that a history replays whether or
not it has one. What a handler starts comes from the handler's request, not from the workflow's.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NoReturn, Protocol

from temporalio import client, worker, workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import default

from domain.origins import Origin, origin

_HEADER = "origin"

Headers = Mapping[str, Payload]


class _Headed(Protocol):
    headers: Headers


class OriginInterceptor(client.Interceptor, worker.Interceptor):
    """For every client; a worker takes it from its client."""

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:  # noqa: A002 - the SDK's name
        return _Client(next)

    def intercept_activity(self, next: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:  # noqa: A002
        return _Activity(next)

    def workflow_interceptor_class(
        self,
        input: worker.WorkflowInterceptorClassInput,  # noqa: A002, ARG002
    ) -> type[worker.WorkflowInboundInterceptor]:
        return _Workflow


def _send(asked: _Headed) -> None:
    """Send the origin of what runs now along, unless nothing is known of it."""
    known = {name: value for name, value in asdict(origin.get()).items() if value is not None}
    if known:
        asked.headers = {**asked.headers, _HEADER: default().payload_converter.to_payload(known)}


def _take(headers: Headers) -> None:
    """Let what runs from here on have the origin that came with it."""
    if (payload := headers.get(_HEADER)) is not None:
        origin.set(Origin(**default().payload_converter.from_payload(payload, dict[str, str])))


class _Client(client.OutboundInterceptor):
    async def start_workflow(self, input: client.StartWorkflowInput) -> client.WorkflowHandle[Any, Any]:  # noqa: A002
        _send(input)
        return await super().start_workflow(input)

    async def signal_workflow(self, input: client.SignalWorkflowInput) -> None:  # noqa: A002
        _send(input)
        await super().signal_workflow(input)

    async def start_workflow_update(
        self,
        input: client.StartWorkflowUpdateInput,  # noqa: A002
    ) -> client.WorkflowUpdateHandle[Any]:
        _send(input)
        return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self,
        input: client.StartWorkflowUpdateWithStartInput,  # noqa: A002
    ) -> client.WorkflowUpdateHandle[Any]:
        _send(input.start_workflow_input)
        _send(input.update_workflow_input)
        return await super().start_update_with_start_workflow(input)


class _Activity(worker.ActivityInboundInterceptor):
    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:  # noqa: A002
        _take(input.headers)
        return await super().execute_activity(input)


class _Workflow(worker.WorkflowInboundInterceptor):
    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_FromWorkflow(outbound))

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:  # noqa: A002
        _take(input.headers)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:  # noqa: A002
        _take(input.headers)
        await super().handle_signal(input)

    async def handle_update_handler(self, input: worker.HandleUpdateInput) -> Any:  # noqa: A002
        _take(input.headers)
        return await super().handle_update_handler(input)


class _FromWorkflow(worker.WorkflowOutboundInterceptor):
    def start_activity(self, input: worker.StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        _send(input)
        return super().start_activity(input)

    def start_local_activity(self, input: worker.StartLocalActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        _send(input)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self,
        input: worker.StartChildWorkflowInput,  # noqa: A002
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        _send(input)
        return await super().start_child_workflow(input)

    async def signal_external_workflow(self, input: worker.SignalExternalWorkflowInput) -> None:  # noqa: A002
        _send(input)
        await super().signal_external_workflow(input)

    def continue_as_new(self, input: worker.ContinueAsNewInput) -> NoReturn:  # noqa: A002
        _send(input)
        super().continue_as_new(input)
