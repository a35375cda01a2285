"""How the system is: for probes without a name, and for users in detail."""

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import text
from temporalio.service import RPCError

from api.audit import Standing
from api.books import BooksUnavailable
from api.dependencies import CallerDep, ConnectionsDep
from api.fields import DecimalText
from api.positions import AccountSnapshot, aged
from api.trades import scope_of
from api.views import View, age_ms
from db.audit_standing import read_audit_standing
from db.listings import read_status
from domain.controls import ControlScope, ControlState
from domain.orders import OrderState
from domain.watch import FindingKind

router = APIRouter(prefix="/api/system", tags=["system"])

_PROBE_SECONDS = 1.0


class Probe(View):
    ok: bool
    ms: float


class Health(View):
    """`ok` only if everything that a trade needs from here answers."""

    ok: bool
    database: Probe
    temporal: Probe


class Lease(View):
    """Who sends for the account; a lease past `expires_at` is nobody's."""

    number: int
    holder: str | None
    taken_at: datetime | None
    expires_at: datetime | None
    age_ms: int | None


class Quote(View):
    symbol: str
    bid: DecimalText
    ask: DecimalText
    at: datetime
    read_at: datetime
    age_ms: int


class Condition(View):
    """What keeps the account from trading since `began_at`, and what mends it; it ends by itself."""

    kind: FindingKind
    message: str
    began_at: datetime


class ContractChange(View):
    """A term of a symbol that is not what it was; no order opens in the symbol until a person accepts it."""

    symbol: str
    term: str
    was: str
    shown: str
    noticed_at: datetime


class AccountStatus(View):
    account: str
    currency: str
    enabled: bool
    margin_mode: str
    lease: Lease
    snapshot: AccountSnapshot | None
    conditions: list[Condition]
    contract_changes: list[ContractChange]
    quotes: list[Quote]


class Control(View):
    """Whether orders pass: active, reduce_only or halted, for the scope that it names."""

    scope: ControlScope
    scope_id: str
    state: ControlState
    cause: str
    reason: str
    set_by: str
    set_at: datetime


class Status(View):
    """`stuck` counts trades that need a person's attention; `audit` is how far the record is sealed."""

    trades: dict[OrderState, int]
    stuck: int
    controls: list[Control]
    audit: Standing
    accounts: list[AccountStatus]


@router.get("/health", responses={503: {"model": Health, "description": "Something that a trade needs is away"}})
async def health(connected: ConnectionsDep, response: Response) -> Health:
    """Whether this process is up, and reaches the books and the workflow server."""
    database, temporal = await asyncio.gather(
        _probe(connected.books.read(lambda connection: connection.scalar(text("SELECT 1")))),
        _probe(connected.temporal.service_client.check_health(timeout=timedelta(seconds=_PROBE_SECONDS))),
    )
    ok = database.ok and temporal.ok
    response.status_code = 200 if ok else 503
    return Health(ok=ok, database=database, temporal=temporal)


@router.get("/status")
async def status(connected: ConnectionsDep, user: CallerDep) -> Status:
    """Your trades by state, the accounts with what keeps them from trading, and the trading controls."""
    found = await connected.books.read(lambda connection: read_status(connection, user_id=scope_of(user)))
    standing = await connected.books.read(read_audit_standing)
    now = datetime.now(UTC)
    return Status(
        trades={state: found["trades"].get(state, 0) for state in OrderState},
        stuck=found["stuck"],
        controls=[Control.model_validate(row) for row in found["controls"]],
        audit=Standing.of_books(standing),
        accounts=[_account(row, now=now) for row in found["accounts"]],
    )


def _account(row: dict[str, Any], *, now: datetime) -> AccountStatus:
    taken_at = row["lease_taken_at"]
    snapshot = row["snapshot"]
    about = {"account": row["account"], "currency": row["currency"]}
    lease = {
        "number": row["lease_number"],
        "holder": row["lease_holder"],
        "taken_at": taken_at,
        "expires_at": row["lease_expires_at"],
        "age_ms": None if taken_at is None else age_ms(datetime.fromisoformat(taken_at), now=now),
    }
    return AccountStatus.model_validate(
        {
            **row,
            "lease": lease,
            "snapshot": None if snapshot is None else aged({**about, **snapshot}, now=now),
            "quotes": [aged(quote, now=now) for quote in row["quotes"]],
        }
    )


async def _probe(question: Awaitable[object]) -> Probe:
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            ok = bool(await question)
    except (BooksUnavailable, RPCError, RuntimeError, TimeoutError):
        ok = False
    return Probe(ok=ok, ms=round((time.perf_counter() - begun) * 1000, 2))
