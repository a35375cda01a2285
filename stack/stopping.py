"""Stopping from the command line: the latch in the books, the workflow in Temporal, whichever is there."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from db import stops
from db.engine import make_engine
from db.stops import StopProgress
from domain.stops import Stop
from settings import Environment, TemporalSettings
from stack.errors import StackError
from stack.state import StateFolder
from workflows.stop_messages import STOP_WORKFLOW, StopInput, start_options

CONNECT_SECONDS = 3.0
LOOK_AGAIN_SECONDS = 0.05

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Where the books and Temporal are; None for what is not known here."""

    database_url: str | None
    temporal: TemporalSettings | None


@dataclass(frozen=True, kw_only=True)
class Pressed:
    """What came of a press: `latched` in the books, `carried_on` by Temporal, and how far it is by now."""

    latched: bool
    carried_on: bool
    progress: StopProgress | None


def reach_of(state: StateFolder) -> Reach:
    """The books and Temporal of the environment, else those of the stack on the folder."""
    environment = Environment(os.environ)
    if environment.optional("DATABASE_URL") is not None:
        return Reach(
            database_url=environment.database_url(),
            temporal=TemporalSettings.from_environ(os.environ),
        )
    running = state.running()
    if running is None:
        raise StackError(
            f"no stack runs on {state.root}; set DATABASE_URL and TEMPORAL_ADDRESS, or use --terminal"
        )
    stored = {"DATABASE_URL": Path(running.urls.database_owner_file).read_text()}
    address = {"TEMPORAL_ADDRESS": f"127.0.0.1:{running.ports['Temporal']}"}
    return Reach(
        database_url=Environment(stored).database_url(),
        temporal=TemporalSettings.from_environ(address),
    )


async def press(stop: Stop, reach: Reach, *, wait_seconds: float, tell: Tell) -> Pressed:
    """Latch, start the workflow, and follow it; what is away is told, and the other is done all the same."""
    began = time.monotonic()
    engine = None if reach.database_url is None else make_engine(reach.database_url, application="nexus stop")
    try:
        progress = None if engine is None else await _latch(engine, stop, began=began, tell=tell)
        carried_on = await _carry_on(stop, reach.temporal, tell=tell)
        if progress is not None and carried_on and engine is not None:
            progress = await _follow(engine, stop, ends_at=began + wait_seconds, tell=tell)
    finally:
        if engine is not None:
            await engine.dispose()
    return Pressed(latched=progress is not None, carried_on=carried_on, progress=progress)


async def _latch(engine: AsyncEngine, stop: Stop, *, began: float, tell: Tell) -> StopProgress | None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS), engine.begin() as connection:
            progress = await stops.latch(connection, stop)
    except (OSError, TimeoutError, asyncpg.PostgresError, SQLAlchemyError) as error:
        first_line = str(error).partition("\n")[0]
        tell(f"the books are away ({first_line or type(error).__name__}); the latch is not set there")
        return None
    tell(f"latched after {_ms(began)}: no order leaves any more")
    return progress


async def _carry_on(stop: Stop, settings: TemporalSettings | None, *, tell: Tell) -> bool:
    if settings is None:
        tell("no Temporal is known here; a pipeline worker carries the stop on once it runs")
        return False
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            client = await Client.connect(**settings.connect_options())
            await client.start_workflow(STOP_WORKFLOW, StopInput(stop=stop), **start_options(stop))
    except WorkflowAlreadyStartedError:
        return True
    except (RPCError, RuntimeError, TimeoutError) as error:
        first_line = str(error).partition("\n")[0]
        tell(f"Temporal is away ({first_line[:80] or type(error).__name__}); closing begins when it is back")
        return False
    return True


async def _follow(engine: AsyncEngine, stop: Stop, *, ends_at: float, tell: Tell) -> StopProgress:
    """Tell each thing that the stop reaches, until its end or the end of our patience."""
    told: set[str] = set()
    while True:
        async with engine.connect() as connection:
            progress = await stops.read_stop(connection, stop.stop_id)
        for name, line in _reached(progress).items():
            if name not in told:
                told.add(name)
                tell(line)
        if progress.ended_at is not None or time.monotonic() >= ends_at:
            return progress
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _reached(progress: StopProgress) -> dict[str, str]:
    lines = {}
    if progress.in_force_at is not None:
        named = progress.certificate.get("in_flight", [])
        but = f", but for {len(named)} sends without an outcome" if named else ""
        lines["in_force"] = f"in force {_since(progress, progress.in_force_at)} after the latch{but}"
    for number, refused in enumerate(progress.certificate.get("refused", ())):
        lines[f"refused {number} {refused}"] = f"refused: {refused}"
    if progress.flat_at is not None:
        lines["flat"] = f"flat {_since(progress, progress.flat_at)} after the latch: the broker shows nothing left"
    return lines


def _since(progress: StopProgress, instant: datetime) -> str:
    return f"{(instant - progress.latched_at).total_seconds() * 1000:.0f} ms"


def _ms(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.0f} ms"
