"""`python -m api`: the process that serves, and the one line of the process that cannot."""

import os
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec

import httpx

from stack.state import CHECKOUT
from tests.api.conftest import KEY, Api
from tests.waiting import free_port, until


async def started(**variables: str) -> Process:
    environ = {"PATH": os.defpath, "PYTHONPATH": str(CHECKOUT), **variables}
    return await create_subprocess_exec(
        *(sys.executable, "-m", "api"), cwd=CHECKOUT, env=environ, stdout=PIPE, stderr=PIPE
    )


async def test_process_serves_until_it_is_told_to_end(api: Api) -> None:
    port = free_port()
    process = await started(
        DATABASE_URL=api.settings.database_url,
        SECRET_KEY=KEY.decode(),
        TEMPORAL_ADDRESS=api.settings.temporal.address,
        API_PORT=str(port),
    )

    async def healthy() -> bool:
        try:
            return (await http.get(f"http://127.0.0.1:{port}/api/system/health")).status_code == 200
        except httpx.TransportError:
            return False

    async with httpx.AsyncClient() as http:
        await until(healthy, what="the API to be healthy")
        login = await http.get(f"http://127.0.0.1:{port}/api/auth/login")
    process.terminate()
    await process.communicate()

    assert login.headers["content-type"] == "application/problem+json"
    assert "server" not in login.headers
    assert process.returncode in {0, -15}


async def test_missing_variable_is_named_in_one_line() -> None:
    process = await started(DATABASE_URL="postgresql://x@127.0.0.1/x")
    output, complaint = await process.communicate()

    assert (process.returncode, output) == (2, b"")
    assert complaint.decode() == "SECRET_KEY is not set (or give SECRET_KEY_FILE)\n"
