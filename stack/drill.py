"""A fire drill: press the stop on the simulated terminal, measure what it takes, and open trading again."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import stops
from db.stops import StopProgress
from domain.controls import ControlScope, ControlState
from domain.stops import Stop, StopCause
from stack.books import actor, books
from stack.demo_account import ACCOUNT
from stack.errors import StackError
from stack.rest import Caller
from stack.state import StateFolder
from stack.stopping import Reach, press

SYMBOL, VOLUME = "EURUSD", "0.01"
FLAT_WITHIN_SECONDS = 60.0

Tell = Callable[[str], None]

_HINDRANCES = text("""
    SELECT scope || ' ' || scope_id || ' is ' || state || ': ' || reason FROM trading_control
    WHERE state <> 'active'
    UNION ALL
    SELECT 'position ' || p.position_id || ' is open' FROM broker_positions p
    JOIN broker_accounts b ON b.id = p.account_id WHERE b.slug = :account
""")


@dataclass(frozen=True, kw_only=True)
class Drill:
    """Milliseconds from the press: until the latch, the first refused order, in force, and a flat broker."""

    at: str
    positions: int
    latch_ms: float
    blocked_ms: float
    in_force_ms: float
    flat_ms: float


async def drill(state: StateFolder, caller: Caller, reach: Reach, *, positions: int, tell: Tell) -> Drill:
    """One round on the running stack, which it leaves as it found it. Raises StackError."""
    async with books(state) as connection:
        await _check_quiet(connection)
    headers = {"Authorization": f"Bearer {caller.token}"}
    async with httpx.AsyncClient(base_url=caller.url, headers=headers, timeout=30, trust_env=False) as api:
        for number in range(positions):
            await _open(api, number)
        tell(f"{positions} positions are open; pressing")
        stop = _stop()
        pressed_at = time.monotonic()
        blocked = asyncio.create_task(_until_blocked(api, pressed_at))
        done = await press(stop, reach, wait_seconds=FLAT_WITHIN_SECONDS, tell=tell)
        blocked_ms = await blocked
    progress = done.progress
    if progress is None or progress.flat_at is None or progress.in_force_at is None:
        raise StackError(f"stop {stop.stop_id} did not reach flat; look at `nexus stops`, trading stays stopped")
    async with books(state) as connection:
        await stops.resume(connection, stop.scope, stop.scope_id, actor=actor(), reason="the drill is over")
    found = Drill(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        positions=positions,
        latch_ms=_after(progress, progress.latched_at),
        blocked_ms=blocked_ms,
        in_force_ms=_after(progress, progress.in_force_at),
        flat_ms=_after(progress, progress.flat_at),
    )
    with (state.root / "drills.jsonl").open("a", encoding="utf-8") as history:
        history.write(json.dumps(asdict(found)) + "\n")
    return found


def past_drills(state: StateFolder) -> list[Drill]:
    """Those that were kept, oldest first."""
    kept = state.root / "drills.jsonl"
    if not kept.exists():
        return []
    return [Drill(**json.loads(line)) for line in kept.read_text(encoding="utf-8").splitlines()]


async def _check_quiet(connection: AsyncConnection) -> None:
    found = (await connection.scalars(_HINDRANCES, {"account": ACCOUNT})).first()
    if found is not None:
        raise StackError(f"a drill needs an account that trades and is flat: {found}")


async def _open(api: httpx.AsyncClient, number: int) -> None:
    body = {
        "client_order_id": f"drill-{uuid4().hex[:12]}-{number}",
        "symbol": SYMBOL,
        "side": "buy" if number % 2 == 0 else "sell",
        "type": "market",
        "volume": VOLUME,
    }
    answer = await api.post("/api/trading/execute", json=body)
    told: dict[str, Any] = answer.json()
    if answer.status_code != httpx.codes.CREATED or told["state"] != "filled":
        raise StackError(f"the drill could not open its positions: {answer.status_code} {answer.text[:300]}")


async def _until_blocked(api: httpx.AsyncClient, pressed_at: float) -> float:
    """When the gates refuse an order by the stop; asked without an order."""
    body = {"symbol": SYMBOL, "side": "buy", "type": "market", "volume": VOLUME}
    while True:
        answer = (await api.post("/api/trading/preview", json=body)).json()
        if any(denial["gate"] == "control" for denial in answer["denials"]):
            return (time.monotonic() - pressed_at) * 1000
        if time.monotonic() - pressed_at > FLAT_WITHIN_SECONDS:
            raise StackError("the gates still let orders through; trading is NOT stopped")


def _stop() -> Stop:
    return Stop(
        stop_id=uuid4(),
        scope=ControlScope.ACCOUNT,
        scope_id=ACCOUNT,
        mode=ControlState.HALTED,
        cancel_orders=True,
        flatten=True,
        include_external=False,
        cause=StopCause.PERSON,
        reason="a drill",
        requested_by=actor(),
        resume_role="admin",
        requested_at=datetime.now(UTC),
    )


def _after(progress: StopProgress, instant: datetime) -> float:
    return round((instant - progress.stop.requested_at).total_seconds() * 1000, 1)
