"""The documented API against the real one: what the OpenAPI document says is what the API takes and answers.

Schemathesis makes requests from the document, right and wrong ones, and holds each answer against it.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from tests.api.conftest import Api, bearer
from tests.waiting import free_port, until

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
# They end the session that asks, or change what it logs in with.
ENDING = r"^/api/auth/(logout|sessions|password|factors|step-up)"


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[str]:
    """The application of the tests behind a port, for clients that are processes of their own."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(api.app, host="127.0.0.1", port=port, lifespan="off", access_log=False, log_config=None)
    )
    serving = asyncio.create_task(server.serve())

    async def ready() -> bool:
        return server.started

    await until(ready, what="the port to be open")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def schemathesis(url: str, folder: Path, *words: str) -> tuple[int, str]:
    """Its exit code and what it said; `folder` takes what it keeps for itself."""
    process = await create_subprocess_exec(
        *(str(SCHEMATHESIS), "run", f"{url}/openapi.json", "--no-color"),
        *("--checks", "all", "--continue-on-failure", "--generation-database", "none", "--warnings", "off"),
        # A document cannot say that two fields exclude each other, nor which cursor a list gave; and a path that
        # is a value of another path's parameter as well is answered by that one, whatever the method.
        *("--exclude-checks", "positive_data_acceptance,unsupported_method"),
        *words,
        cwd=folder,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_c1_whole_document_holds_for_an_admin(api: Api, tmp_path: Path) -> None:
    async with served(api) as url:
        code, told = await schemathesis(url, tmp_path, *as_admin(), "--max-examples", "5", "--seed", "7")
    assert code == 0, told


async def test_c1_whole_document_holds_for_nobody(api: Api, tmp_path: Path) -> None:
    async with served(api) as url:
        code, told = await schemathesis(url, tmp_path, "--max-examples", "3", "--seed", "7")
    assert code == 0, told


@pytest.mark.long
async def test_c1_whole_document_holds_for_an_admin_over_many_requests(api: Api, tmp_path: Path) -> None:
    async with served(api) as url:
        code, told = await schemathesis(url, tmp_path, *as_admin(), "--max-examples", "40", "--seed", "8")
    assert code == 0, told


def as_admin() -> tuple[str, ...]:
    return ("-H", f"Authorization: {bearer('admin')['Authorization']}", "--exclude-path-regex", ENDING)
