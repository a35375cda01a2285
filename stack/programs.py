"""The programs of the embedded stack: how each is run, with which environment, and when it counts as ready."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import httpx

from domain.positions import MarginMode
from stack.demo_account import (
    ACCOUNT,
    ACCOUNT_CURRENCY,
    ACCOUNT_LEVERAGE,
    TERMINAL_LOGIN,
    TERMINAL_SERVER,
    TERMINAL_ZONE,
)
from stack.postgres import Postgres, accepts_connections, says_ready
from stack.secret_files import SecretFiles
from stack.state import CHECKOUT, StateFolder
from stack.supervisor import Child, Program, Ready, prints
from stack.temporal import is_serving, server_command

DATABASE = "nexus"
DATABASE_ROLES = ("owner", "api", "pipeline", "broker", "sealer")


@dataclass(frozen=True, kw_only=True)
class Ports:
    postgres: int
    temporal: int
    temporal_ui: int
    simulator: int
    api: int
    codec: int = 8235


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A recorded quote file for the simulated terminal to play."""

    file: Path
    symbol: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one start of the stack has decided."""

    state: StateFolder
    ports: Ports
    replay: Replay | None
    daily_loss_limit: Decimal
    position_size_max: Decimal
    handed_on: Mapping[str, str]

    @property
    def secrets(self) -> SecretFiles:
        return SecretFiles(self.state.secrets)

    @property
    def postgres(self) -> Postgres:
        return Postgres(data=self.state.postgres, port=self.ports.postgres)

    @property
    def encrypts(self) -> bool:
        """Whether Temporal is given encrypted payloads, which its Web UI has to have decrypted."""
        return not {"TEMPORAL_CODEC_KEY", "TEMPORAL_CODEC_KEY_FILE"}.isdisjoint(self.handed_on)

    @property
    def codec_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.codec}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.api}"

    @property
    def temporal_address(self) -> str:
        return f"127.0.0.1:{self.ports.temporal}"

    @property
    def temporal_ui_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.temporal_ui}"

    def write_database_urls(self) -> None:
        """One file per role, since each process is handed its own and no other."""
        for role in DATABASE_ROLES:
            user = f"nexus_{role}"
            url = self.postgres.url(user=user, password=self.secrets.read_or_make(user), database=DATABASE)
            self.secrets.write(f"database_url_{role}", url)


def postgres(plan: Plan) -> Program:
    superuser_url = plan.postgres.url(password=plan.secrets.read_or_make("postgres"))

    async def ready(_: Child) -> bool:
        return says_ready(plan.postgres) and await accepts_connections(superuser_url)

    return Program(
        name="postgres",
        title="PostgreSQL",
        command=plan.postgres.command(),
        environ={"PATH": os.defpath, "LC_ALL": "C"},
        folder=Path("/"),
        ready=ready,
        # The polite signal of PostgreSQL waits for its clients for ever; this one ends them.
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGINT,
    )


def migrations(plan: Plan) -> Program:
    return _python(
        plan, name="migrate", title="the migration of the database", words=("-m", "db.migrate"), role="owner"
    )


def temporal(plan: Plan) -> Program:
    web_ui_answers = _answers(plan.temporal_ui_url)

    async def ready(child: Child) -> bool:
        return await is_serving(plan.temporal_address) and await web_ui_answers(child)

    return Program(
        name="temporal",
        title="Temporal",
        command=server_command(
            port=plan.ports.temporal,
            ui_port=plan.ports.temporal_ui,
            database=plan.state.temporal_database,
            codec_url=plan.codec_url if plan.encrypts else None,
        ),
        environ={"PATH": os.defpath, "HOME": str(plan.state.root)},
        folder=plan.state.root,
        ready=ready,
    )


def codec_server(plan: Plan) -> Program:
    words = ("-m", "stack.codec_server", "--port", str(plan.ports.codec), "--origin", plan.temporal_ui_url)
    return _python(
        plan, name="codec", title="the codec server", words=words, ready=_answers(f"{plan.codec_url}/ready")
    )


def simulator(plan: Plan) -> Program:
    plan.secrets.read_or_make("terminal_password")
    replay = () if plan.replay is None else ("--ticks", str(plan.replay.file), "--symbol", plan.replay.symbol)
    words = (
        *("-m", "brokers.simulator", "--host", "127.0.0.1", "--port", str(plan.ports.simulator)),
        *("--state", str(plan.state.simulator_database), "--login", str(TERMINAL_LOGIN)),
        *("--password-file", str(plan.secrets.path("terminal_password")), "--server", TERMINAL_SERVER),
        *(
            "--currency",
            ACCOUNT_CURRENCY,
            "--leverage",
            str(ACCOUNT_LEVERAGE),
            "--margin-mode",
            MarginMode.HEDGING,
        ),
        *("--time-zone", TERMINAL_ZONE, "--seed", "7", *replay),
    )
    return _python(
        plan,
        name="terminal",
        title="the simulated terminal",
        words=words,
        ready=prints("simulated terminal ready"),
    )


def pipeline_worker(plan: Plan) -> Program:
    return _python(
        plan,
        name="pipeline",
        title="the pipeline worker",
        words=("worker.py", "--role", "pipeline"),
        role="pipeline",
        ready=prints("pipeline worker ready"),
    )


def broker_worker(plan: Plan) -> Program:
    terminal = {
        "BROKER_ACCOUNT": ACCOUNT,
        "MT5_TERMINAL": "simulated",
        "MT5_PATH": f"127.0.0.1:{plan.ports.simulator}",
        "MT5_LOGIN": str(TERMINAL_LOGIN),
        "MT5_SERVER": TERMINAL_SERVER,
        "MT5_SERVER_ZONE": TERMINAL_ZONE,
        "MT5_PASSWORD_FILE": str(plan.secrets.path("terminal_password")),
    }
    worker = _python(
        plan,
        name="broker",
        title="the broker worker",
        words=("worker.py", "--role", "broker"),
        role="broker",
        environ=terminal,
        ready=prints("broker worker ready"),
    )
    # It starts once the lease of a sender at another terminal has run out, and ends once its call to the terminal
    # has ended or is given up.
    return replace(worker, ready_within_seconds=90.0, stop_within_seconds=30.0)


def sealer(plan: Plan) -> Program:
    plan.secrets.read_or_make("audit_signing_key")
    return _python(
        plan,
        name="sealer",
        title="the sealer of the audit record",
        words=("worker.py", "--role", "sealer"),
        role="sealer",
        environ={
            "AUDIT_SIGNING_KEY_FILE": str(plan.secrets.path("audit_signing_key")),
            "AUDIT_ANCHOR_PATH": str(plan.state.anchors),
        },
        ready=prints("sealer ready"),
    )


def api(plan: Plan) -> Program:
    plan.secrets.read_or_make("secret_key")
    return _python(
        plan,
        name="api",
        title="the API",
        words=("-m", "api"),
        role="api",
        environ={
            "SECRET_KEY_FILE": str(plan.secrets.path("secret_key")),
            "API_HOST": "127.0.0.1",
            "API_PORT": str(plan.ports.api),
        },
        ready=_answers(f"{plan.api_url}/api/system/health"),
    )


def _python(
    plan: Plan,
    *,
    name: str,
    title: str,
    words: tuple[str, ...],
    role: str | None = None,
    environ: Mapping[str, str] | None = None,
    ready: Ready | None = None,
) -> Program:
    """One of our own processes; of the environment it sees what is written here and nothing else."""
    database = {} if role is None else {"DATABASE_URL_FILE": str(plan.secrets.path(f"database_url_{role}"))}
    return Program(
        name=name,
        title=title,
        command=(sys.executable, *words),
        environ={
            "PATH": os.defpath,
            "HOME": str(plan.state.root),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(CHECKOUT),
            # A line in a log file has to be there when the process is killed after writing it.
            "PYTHONUNBUFFERED": "1",
            "NEXUS_PROFILE": "embedded",
            "STATE_DIR": str(plan.state.root),
            "TEMPORAL_ADDRESS": plan.temporal_address,
            "TEMPORAL_UI_URL": plan.temporal_ui_url,
            # The simulated terminal shows an order within milliseconds, so absence is proven sooner.
            "ABSENCE_QUIET_SECONDS": "5",
            **plan.handed_on,
            **database,
            **(environ or {}),
        },
        folder=CHECKOUT,
        ready=ready if ready is not None else _at_once,
    )


async def _at_once(_: Child) -> bool:
    return True


def _answers(url: str) -> Ready:
    """Ready once a GET of the URL answers 200."""

    async def answered(_: Child) -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            try:
                response = await client.get(url)
            except httpx.TransportError:
                return False
        return response.is_success

    return answered
