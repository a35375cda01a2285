"""Real parts for all tests: a PostgreSQL server and a Temporal server, each started once when first asked for."""

import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import settings
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from stack.scratch import Database, cloned_database, make_template, running_postgres
from stack.temporal import binary, dynamic_config_flags, prepare_namespace
from workflows.propagation import OriginInterceptor
from workflows.search_attributes import KEYS

_clones = itertools.count(1)

# Examples meet real servers on shared cores; how long one takes says nothing.
settings.register_profile("patient", deadline=None)
# For a search by hand: `--hypothesis-profile=long`.
settings.register_profile("long", deadline=None, max_examples=3000)
settings.load_profile("patient")


@pytest.fixture(scope="session")
async def postgres_admin_url() -> AsyncIterator[str]:
    """The superuser's URL of a server that lives as long as the test run."""
    async with running_postgres() as admin_url:
        yield admin_url


@pytest.fixture(scope="session")
async def migrated_template(postgres_admin_url: str) -> str:
    """The superuser's URL of a server that holds the roles and the migrated template."""
    await make_template(postgres_admin_url)
    return postgres_admin_url


@pytest.fixture
async def database(migrated_template: str) -> AsyncIterator[Database]:
    """A freshly migrated database for one test: `database.urls["api"]`, `database.engine("pipeline")`."""
    async with cloned_database(migrated_template, name=f"nexus_test_{next(_clones)}") as clone:
        yield clone


@pytest.fixture(scope="session")
async def temporal_env() -> AsyncIterator[WorkflowEnvironment]:
    """A real dev server in memory, with the stack's settings and search attributes."""
    env = await WorkflowEnvironment.start_local(
        data_converter=pydantic_data_converter,
        interceptors=[OriginInterceptor()],
        dev_server_existing_path=str(binary()),
        dev_server_log_level="error",
        dev_server_extra_args=dynamic_config_flags(),
    )
    async with env:
        await prepare_namespace(env.client, KEYS)
        yield env


@pytest.fixture
def temporal_client(temporal_env: WorkflowEnvironment) -> Client:
    return temporal_env.client
