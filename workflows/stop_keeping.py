"""Stops that nobody carries on: set by a trigger, or latched while Temporal was away."""

import asyncio
import logging

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from db.stops import unfinished
from domain.stops import Stop
from workflows.emergency_stop import EmergencyStopWorkflow
from workflows.stop_messages import StopInput, start_options

# How soon such a stop is begun.
KEEP_STOPS_SECONDS = 1

log = logging.getLogger(__name__)


async def keep_stops(engine: AsyncEngine, client: Client) -> None:
    """Have every latched stop carried on: one that a trigger set, or that was latched while Temporal was away."""
    while True:
        try:
            async with engine.connect() as connection:
                waiting = await unfinished(connection)
        except (SQLAlchemyError, OSError) as error:
            log.warning("the stops could not be read: %s", error)
            waiting = ()
        for progress in waiting:
            await _carry_on(client, progress.stop)
        await asyncio.sleep(KEEP_STOPS_SECONDS)


async def _carry_on(client: Client, stop: Stop) -> None:
    try:
        await client.start_workflow(EmergencyStopWorkflow.run, StopInput(stop=stop), **start_options(stop))
    except WorkflowAlreadyStartedError:
        # It has ended in its own time, and the books will say so at the next look.
        log.debug("stop %s has ended meanwhile", stop.stop_id)
    except RPCError as error:
        log.warning("stop %s could not be carried on: %s", stop.stop_id, error)
