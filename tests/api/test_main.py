"""`python -m api`: the process that serves, and the one line of the process that cannot."""

import os
import ssl
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from pathlib import Path

import httpx
import pytest

from stack.state import CHECKOUT
from tests.api.conftest import KEY, Api
from tests.certificates import make_certificate
from tests.waiting import free_port, until


async def started(**variables: str) -> Process:
    # The scratch server may lose commits, which production refuses.
    environ = {"PATH": os.defpath, "PYTHONPATH": str(CHECKOUT), "NEXUS_PROFILE": "embedded", **variables}
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


async def test_process_with_a_certificate_serves_over_tls_alone_and_says_so_for_a_year(
    api: Api, tmp_path: Path
) -> None:
    port, certificate = free_port(), make_certificate(tmp_path)
    process = await started(
        DATABASE_URL=api.settings.database_url,
        SECRET_KEY=KEY.decode(),
        TEMPORAL_ADDRESS=api.settings.temporal.address,
        API_PORT=str(port),
        API_TLS_CERT_FILE=str(certificate),
        API_TLS_KEY_FILE=str(certificate),
    )
    answers: list[httpx.Response] = []

    async def healthy() -> bool:
        try:
            answers.append(await http.get(f"https://localhost:{port}/api/system/health"))
        except httpx.TransportError:
            return False
        return answers[-1].status_code == 200

    trusted = ssl.create_default_context(cafile=str(certificate))
    async with httpx.AsyncClient(verify=trusted) as http:
        await until(healthy, what="the API to be healthy")
        with pytest.raises(httpx.TransportError):
            await http.get(f"http://localhost:{port}/api/system/health")
    process.terminate()
    await process.communicate()

    assert answers[-1].headers["strict-transport-security"] == "max-age=31536000"


async def test_certificate_without_its_key_is_named(tmp_path: Path) -> None:
    certificate = str(make_certificate(tmp_path))
    process = await started(
        DATABASE_URL="postgresql://x@127.0.0.1/x", SECRET_KEY=KEY.decode(), API_TLS_CERT_FILE=certificate
    )
    _, complaint = await process.communicate()

    assert complaint.decode() == "API_TLS_KEY_FILE is not set; a certificate and its key go together\n"
