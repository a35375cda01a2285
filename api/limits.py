"""Limits: which are in force, every value they had, and the change of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from api.callers import Caller
from api.connections import Connections
from api.cursors import CursorQuery, LimitQuery, after_row, row_place
from api.dependencies import CallerDep, ConnectionsDep
from api.errors import FieldFault, invalid
from api.fields import DecimalText, LevelDecimal, Reason, Slug
from api.proofs import require_proof
from api.second_person import AWAITED, Approval, ask_second_person, awaited
from api.trades import scope_of
from api.views import View
from db.accounts import Account, find_member, list_slugs, read_account
from db.approvals import Approved
from db.limit_listings import LimitFilter, list_limit_history, list_limits, read_limit
from db.limits import LimitScope, change_limit, would_loosen
from db.users import Role, User
from domain.controls import ControlScope
from domain.errors import AccountNotFound, LimitTermRefused, LimitValueRefused
from domain.limits import LOOSENED_FOR_MAX, UNITS, AskedLimit, Authority, LimitName, LimitUnit

router = APIRouter(prefix="/api/trading", tags=["trading"])


Username = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{1,62}$")]
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class LimitBody(BaseModel):
    """The value of a limit; without `username`, of the whole account.

    A tightening stands until it is changed. A loosening ends by itself after `expires_in_s`, a day if nothing is
    said; `permanent` loosens for good, which is for admins, as is the first value of an account's limit.
    `currency` goes with money alone and is the account's.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"account": "demo", "value": "500", "reason": "wider for the release", "expires_in_s": 28800}
            ]
        },
    )

    account: Slug | None = None
    username: Username | None = None
    value: LevelDecimal
    currency: CurrencyCode | None = None
    reason: Reason
    expires_in_s: Annotated[StrictInt, Field(ge=60, le=int(LOOSENED_FOR_MAX.total_seconds()))] | None = None
    permanent: StrictBool = False


class NamedLimit(BaseModel):
    """The change of a limit with the limit's name and its account, as it is kept for a second person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: LimitName
    limit: LimitBody


class Limit(View):
    """A limit in force. While it is loosened, it holds until `expires_at`, and `base_value` holds from then on."""

    account: str
    name: LimitName
    scope: ControlScope
    username: str | None
    value: DecimalText
    unit: LimitUnit
    currency: str | None
    base_value: DecimalText | None
    set_by: str
    reason: str
    set_at: datetime
    expires_at: datetime | None


class Limits(View):
    """A limit that is not listed was never set, and denies."""

    items: list[Limit]


class FormerLimit(View):
    """One value of a limit: in force from `set_at` until it was superseded or expired, whichever came first."""

    id: UUID
    account: str
    name: LimitName
    scope: ControlScope
    username: str | None
    value: DecimalText
    unit: LimitUnit
    currency: str | None
    set_by: str
    reason: str
    set_at: datetime
    expires_at: datetime | None
    superseded_at: datetime | None


class LimitHistory(View):
    items: list[FormerLimit]
    next_cursor: str | None


@router.get("/limits")
async def limits(connected: ConnectionsDep, caller: CallerDep) -> Limits:
    """The limits in force of your accounts: those of the whole account and your own; risk and admin see all."""
    wanted = LimitFilter(user_id=scope_of(caller))
    rows = await connected.books.read(lambda connection: list_limits(connection, wanted))
    return Limits(items=[Limit.model_validate(row) for row in rows])


@router.get("/limits/history")
async def limit_history(
    connected: ConnectionsDep,
    caller: CallerDep,
    *,
    account: Annotated[Slug | None, Query()] = None,
    name: LimitName | None = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> LimitHistory:
    """Every value that a limit had, the newest first, with who set it and why."""
    wanted = LimitFilter(user_id=scope_of(caller), account=account, name=name)
    before = row_place(cursor)
    rows = await connected.books.read(
        lambda connection: list_limit_history(connection, wanted, limit=limit + 1, before=before)
    )
    last = rows[limit - 1] if len(rows) > limit else None
    return LimitHistory(
        items=[FormerLimit.model_validate(row) for row in rows[:limit]],
        next_cursor=None if last is None else after_row(last["set_at"], last["id"]),
    )


@router.put("/limits/{name}", response_model=Limit, responses=AWAITED)
async def put_limit(
    name: LimitName, body: LimitBody, connected: ConnectionsDep, caller: CallerDep
) -> Response | Limit:
    """Change a limit, and answer what is in force now. The same again changes nothing. For risk and admin.

    What lets more pass takes a proof of who you are within the last five minutes, and a second person where two
    persons are asked for.
    """
    answer = await connected.books.change(
        lambda connection: _put_or_ask(connection, connected, caller, NamedLimit(name=name, limit=body))
    )
    return awaited(answer) if isinstance(answer, Approval) else answer


async def carry_out(
    connection: AsyncConnection, requester: User, asked: NamedLimit, *, approved_by: UUID | None = None
) -> Limit:
    """Change the limit in the requester's name, or raise why not."""
    account = await _account(connection, asked.limit.account)
    with _told_by_field():
        await change_limit(
            connection,
            await _scope(connection, account, asked),
            _asked(asked, requester),
            actor=f"user:{requester.id}",
            approved_by=None if approved_by is None else f"user:{approved_by}",
        )
    return Limit.model_validate(
        await read_limit(connection, account=account.slug, name=asked.name, username=asked.limit.username)
    )


async def _put_or_ask(
    connection: AsyncConnection, connected: Connections, caller: Caller, asked: NamedLimit
) -> Limit | Approval:
    account = await _account(connection, asked.limit.account)
    scope = await _scope(connection, account, asked)
    with _told_by_field():
        loosening = await would_loosen(connection, scope, _asked(asked, caller.user))
    if loosening:
        require_proof(caller, connected)
    if not loosening or not connected.rules.two_persons:
        return await carry_out(connection, caller.user, asked)
    whose = account.slug if asked.limit.username is None else f"{asked.limit.username} on {account.slug}"
    return await ask_second_person(
        connection,
        caller,
        Approved.LIMIT,
        {"name": asked.name, "limit": {**asked.limit.model_dump(mode="json"), "account": account.slug}},
        summary=f"loosen {asked.name} of {whose} to {asked.limit.value}: {asked.limit.reason}",
    )


def _asked(asked: NamedLimit, requester: User) -> AskedLimit:
    return AskedLimit(
        name=asked.name,
        value=asked.limit.value,
        reason=asked.limit.reason,
        lasts=None if asked.limit.expires_in_s is None else timedelta(seconds=asked.limit.expires_in_s),
        permanent=asked.limit.permanent,
        authority=Authority.FOR_GOOD if requester.role is Role.ADMIN else Authority.FOR_A_TIME,
    )


@contextmanager
def _told_by_field() -> Iterator[None]:
    """What is wrong with the value or its time is told as what is wrong with the field."""
    try:
        yield
    except LimitValueRefused as error:
        raise invalid([FieldFault(field="value", message=str(error))]) from error
    except LimitTermRefused as error:
        raise invalid([FieldFault(field="expires_in_s", message=str(error))]) from error


async def _account(connection: AsyncConnection, slug: str | None) -> Account:
    known = await list_slugs(connection)
    if slug is None and len(known) != 1:
        raise invalid([FieldFault(field="account", message=f"name one of {', '.join(known)}")])
    try:
        return await read_account(connection, slug or known[0])
    except AccountNotFound as error:
        message = f"there is no account {slug!r}; name one of {', '.join(known)}"
        raise invalid([FieldFault(field="account", message=message)]) from error


async def _scope(connection: AsyncConnection, account: Account, asked: NamedLimit) -> LimitScope:
    """Whose limit it is; refuses a user who does not trade the account, and a currency that it is not kept in."""
    faults, body = [], asked.limit
    user_id = None if body.username is None else await find_member(connection, account.id, body.username)
    if body.username is not None and user_id is None:
        message = f"{body.username} does not trade on account {account.slug}; name a user who does"
        faults.append(FieldFault(field="username", message=message))
    unit = UNITS[asked.name]
    currency = account.currency if unit is LimitUnit.MONEY else None
    if body.currency not in {None, currency}:
        mend = "leave it out" if currency is None else f"send {currency}, in which the account is kept"
        faults.append(
            FieldFault(field="currency", message=f"{asked.name} is counted in {currency or unit}; {mend}")
        )
    if faults:
        raise invalid(faults)
    return LimitScope(account_id=account.id, user_id=user_id, unit=unit, currency=currency)
