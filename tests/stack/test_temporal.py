import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from stack.errors import StackError
from stack.temporal import RETENTION_MIN, prepare_namespace

KEY = SearchAttributeKey.for_keyword("StackTestKeyword")


async def test_preparing_the_namespace_twice_changes_nothing_more(temporal_client: Client) -> None:
    await prepare_namespace(temporal_client, [KEY])
    await prepare_namespace(temporal_client, [KEY])


async def test_closed_workflows_are_kept_for_thirty_days(temporal_client: Client) -> None:
    await prepare_namespace(temporal_client, [KEY])
    described = await temporal_client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=temporal_client.namespace)
    )
    assert described.config.workflow_execution_retention_ttl.ToTimedelta() >= RETENTION_MIN


async def test_an_attribute_of_another_type_is_refused_in_one_line(temporal_client: Client) -> None:
    await prepare_namespace(temporal_client, [KEY])
    with pytest.raises(StackError, match="StackTestKeyword is INDEXED_VALUE_TYPE_KEYWORD, it must be"):
        await prepare_namespace(temporal_client, [SearchAttributeKey.for_int(KEY.name)])
