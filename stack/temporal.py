"""The Temporal dev server with durable storage, and the namespace as the workflows need it."""

import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from stack.errors import StackError

RETENTION_MIN = timedelta(days=30)

# Stock limits of 20 polls a second cost half of a trade's latency; the timer shift lets waits under a second be
# exact; one partition keeps priorities and order; two failures in a row already mark a workflow as stuck.
DYNAMIC_CONFIG = (
    "history.transferProcessorMaxPollRPS=2000",
    "history.timerProcessorMaxPollRPS=2000",
    'history.timerProcessorMaxTimeShift="1ms"',
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=2",
)


def binary() -> Path:
    """The `temporal` program: the pinned one beside this Python, else the one on PATH."""
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if beside.is_file() else shutil.which("temporal")
    if found is None:
        raise StackError("the `temporal` program is missing; run `make install` or put one on PATH")
    return Path(found)


def server_command(*, port: int, ui_port: int, database: Path, codec_url: str | None = None) -> tuple[str, ...]:
    """The dev server, each write flushed to disk before it is answered: these are books of real money."""
    return (
        *(str(binary()), "server", "start-dev", "--log-level", "error"),
        *("--ip", "127.0.0.1", "--port", str(port), "--ui-ip", "127.0.0.1", "--ui-port", str(ui_port)),
        *("--db-filename", str(database)),
        *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=full"),
        *(() if codec_url is None else ("--ui-codec-endpoint", codec_url)),
        *dynamic_config_flags(),
    )


def dynamic_config_flags() -> tuple[str, ...]:
    return tuple(word for value in DYNAMIC_CONFIG for word in ("--dynamic-config-value", value))


async def is_serving(address: str) -> bool:
    """Whether the frontend answers calls, which comes after its port is open."""
    try:
        client = await Client.connect(address)
        return await client.service_client.check_health(timeout=timedelta(seconds=2))
    except (RuntimeError, RPCError):  # the SDK's bridge reports a refused connection as RuntimeError
        return False


async def prepare_namespace(client: Client, keys: Sequence[SearchAttributeKey[Any]]) -> None:
    """Keep closed workflows for 30 days at least and register the search attributes; safe to repeat.

    Raises StackError when an attribute is there under another type, which the server itself accepts in silence.
    """
    await _raise_retention(client)
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes={key.name: IndexedValueType.ValueType(int(key.indexed_value_type)) for key in keys},
        )
    )
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    for key in keys:
        found = listed.custom_attributes.get(key.name)
        if found != int(key.indexed_value_type):
            name = "missing" if found is None else IndexedValueType.Name(found)
            raise StackError(
                f"Temporal namespace {client.namespace}: search attribute {key.name} is {name}, "
                f"it must be {IndexedValueType.Name(IndexedValueType.ValueType(int(key.indexed_value_type)))}"
            )


async def _raise_retention(client: Client) -> None:
    service = client.workflow_service
    described = await service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    if described.config.workflow_execution_retention_ttl.ToTimedelta() >= RETENTION_MIN:
        return
    retention = Duration()
    retention.FromTimedelta(RETENTION_MIN)
    await service.update_namespace(
        UpdateNamespaceRequest(
            namespace=client.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=retention)
        )
    )
