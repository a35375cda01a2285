"""Secrets: none in what is kept under version control, none in what a process says of what it was sent."""

import logging
import re
import subprocess
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from logs import OneLine
from stack.scratch import Database
from tests.api.test_main import started
from tests.waiting import free_port, until

CHECKOUT = Path(__file__).resolve().parent.parent
KEPT_BY_MISTAKE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b"
    r"|\bxox[abp]-[0-9A-Za-z-]{10,}|\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"
)
SECRET_KEY = "f0e1d2c3b4a5968778695a4b3c2d1e0f"


def test_s3_no_file_under_version_control_holds_a_key() -> None:
    if not (CHECKOUT / ".git").exists():
        pytest.skip("this is no checkout, so nothing says which files are kept")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True)
    files = [CHECKOUT / name for name in tracked.stdout.decode().split("\0") if name]
    assert len(files) > 300
    assert [file.name for file in files if KEPT_BY_MISTAKE.search(file.read_text(errors="replace"))] == []


@pytest.mark.parametrize("sent", ["one\ntwo", "one\r\nERROR api: forged", "\x1b[2J", "a\x85b\u2028c"])
def test_s4_newline_in_what_is_logged_stays_in_its_line(sent: str) -> None:
    record = logging.LogRecord("api", logging.INFO, __file__, 1, "request %s failed", (sent,), None)
    line = OneLine("%(levelname)s %(name)s: %(message)s").format(record)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


async def test_s2_planted_secrets_are_in_no_log_problem_or_audit_row(database: Database) -> None:
    """What is sent as a password, a token or a signature comes back in nothing that the API says or keeps."""
    port, secret = free_port(), f"planted-{uuid4().hex}"
    process = await started(
        DATABASE_URL=database.urls["api"],
        SECRET_KEY=SECRET_KEY,
        TEMPORAL_ADDRESS="127.0.0.1:1",
        API_PORT=str(port),
    )
    bearer = {"Authorization": f"Bearer {secret}"}
    signed = {
        "X-Nexus-Key": str(uuid4()),
        "X-Nexus-Timestamp": "1",
        "X-Nexus-Nonce": secret,
        "X-Nexus-Signature": secret,
    }
    login = {"username": "trader", "password": secret}
    asked = [
        ("/api/auth/login", login, {}),
        ("/api/auth/login", {**login, "password": [secret]}, {}),
        ("/api/auth/login", {"username": secret, "password": secret}, {}),
        ("/api/auth/login/factor", {"login_token": secret, "code": secret}, {}),
        ("/api/auth/refresh", {"refresh_token": secret}, {}),
        ("/api/auth/refresh", {"refresh_token": {"a": secret}}, {}),
        ("/api/auth/password", {"current": secret, "new": secret}, bearer),
        ("/api/trading/execute", {"symbol": "EURUSD"}, bearer),
        ("/api/trading/execute", {"symbol": "EURUSD"}, signed),
    ]
    said: list[str] = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

        async def up() -> bool:
            try:
                await http.get("/api/system/health")
            except httpx.TransportError:
                return False
            return True

        await until(up, what="the API to answer")
        for path, body, headers in asked:
            answer = await http.post(path, json=body, headers=headers)
            assert 400 <= answer.status_code < 500, answer.text
            said.append(answer.text)
    process.terminate()
    said += [output.decode() for output in await process.communicate()]
    async with database.engine("owner").connect() as connection:
        for table in ("audit_log", "events", "alerts", "login_tries", "sessions"):
            said += list(await connection.scalars(text(f"SELECT to_jsonb(x)::text FROM {table} x")))
    assert [line for line in said if secret in line] == []
    assert any("login.failed" in line for line in said), "what was done is on record"
