"""Temporal for commands that begin or update workflows: that of the environment, else of the running stack."""

import asyncio
import os
from urllib.parse import quote

from temporalio.client import Client
from temporalio.service import RPCError

from settings import Environment, TemporalSettings
from stack.errors import StackError
from stack.state import StateFolder

CONNECT_SECONDS = 3.0


def temporal_of(state: StateFolder) -> TemporalSettings:
    """As with the books, DATABASE_URL says that no stack of this machine is meant."""
    if Environment(os.environ).optional("DATABASE_URL") is not None:
        return TemporalSettings.from_environ(os.environ)
    running = state.running()
    if running is None:
        raise StackError(
            f"no stack runs on {state.root}; start it with `nexus up` or set DATABASE_URL and TEMPORAL_ADDRESS"
        )
    told = {"TEMPORAL_ADDRESS": running.urls.temporal_address, "TEMPORAL_UI_URL": running.urls.temporal_ui}
    keys = {name: value for name, value in os.environ.items() if name.startswith("TEMPORAL_CODEC_KEY")}
    return TemporalSettings.from_environ({**keys, **told})


async def connect(settings: TemporalSettings) -> Client:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await Client.connect(**settings.connect_options())
    except (RPCError, RuntimeError, TimeoutError) as error:
        raise StackError(
            f"Temporal at {settings.address} does not answer, so nothing was changed; "
            "look at `nexus status`, or set TEMPORAL_ADDRESS"
        ) from error


def link(settings: TemporalSettings, workflow_id: str) -> str:
    """Where the Web UI shows the workflow."""
    return f"{settings.ui_url}/namespaces/{settings.namespace}/workflows/{quote(workflow_id, safe='')}"
