"""Limits: which are in force, every value they had, and the change of one."""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from api.cursors import CursorQuery, LimitQuery, after_row, row_place
from api.dependencies import CallerDep, ConnectionsDep, LimiterDep
from api.errors import FieldFault, invalid
from api.fields import DecimalText, LevelDecimal, Reason, Slug
from api.trades import scope_of
from api.views import View
from db.accounts import Account, find_member, list_slugs, read_account
from db.limit_listings import LimitFilter, list_limit_history, list_limits, read_limit
from db.limits import LimitScope, change_limit
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
async def limits(connected: ConnectionsDep, user: CallerDep) -> Limits:
    """The limits in force of your accounts: those of the whole account and your own; risk and admin see all."""
    wanted = LimitFilter(user_id=scope_of(user))
    rows = await connected.books.read(lambda connection: list_limits(connection, wanted))
    return Limits(items=[Limit.model_validate(row) for row in rows])


@router.get("/limits/history")
async def limit_history(
    connected: ConnectionsDep,
    user: CallerDep,
    *,
    account: Annotated[Slug | None, Query()] = None,
    name: LimitName | None = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> LimitHistory:
    """Every value that a limit had, the newest first, with who set it and why."""
    wanted = LimitFilter(user_id=scope_of(user), account=account, name=name)
    before = row_place(cursor)
    rows = await connected.books.read(
        lambda connection: list_limit_history(connection, wanted, limit=limit + 1, before=before)
    )
    last = rows[limit - 1] if len(rows) > limit else None
    return LimitHistory(
        items=[FormerLimit.model_validate(row) for row in rows[:limit]],
        next_cursor=None if last is None else after_row(last["set_at"], last["id"]),
    )


@router.put("/limits/{name}")
async def put_limit(name: LimitName, body: LimitBody, connected: ConnectionsDep, user: LimiterDep) -> Limit:
    """Change a limit, and answer what is in force now. The same again changes nothing. For risk and admin."""
    return Limit.model_validate(await connected.books.change(partial(_put, name=name, body=body, user=user)))


async def _put(connection: AsyncConnection, *, name: LimitName, body: LimitBody, user: User) -> dict[str, Any]:
    account = await _account(connection, body.account)
    asked = AskedLimit(
        name=name,
        value=body.value,
        reason=body.reason,
        lasts=None if body.expires_in_s is None else timedelta(seconds=body.expires_in_s),
        permanent=body.permanent,
        authority=Authority.FOR_GOOD if user.role is Role.ADMIN else Authority.FOR_A_TIME,
    )
    try:
        await change_limit(
            connection, await _scope(connection, account, name, body), asked, actor=f"user:{user.id}"
        )
    except LimitValueRefused as error:
        raise invalid([FieldFault(field="value", message=str(error))]) from error
    except LimitTermRefused as error:
        raise invalid([FieldFault(field="expires_in_s", message=str(error))]) from error
    return await read_limit(connection, account=account.slug, name=name, username=body.username)


async def _account(connection: AsyncConnection, slug: str | None) -> Account:
    known = await list_slugs(connection)
    if slug is None and len(known) != 1:
        raise invalid([FieldFault(field="account", message=f"name one of {', '.join(known)}")])
    try:
        return await read_account(connection, slug or known[0])
    except AccountNotFound as error:
        message = f"there is no account {slug!r}; name one of {', '.join(known)}"
        raise invalid([FieldFault(field="account", message=message)]) from error


async def _scope(connection: AsyncConnection, account: Account, name: LimitName, body: LimitBody) -> LimitScope:
    """Whose limit it is; refuses a user who does not trade the account, and a currency that it is not kept in."""
    faults = []
    user_id = None if body.username is None else await find_member(connection, account.id, body.username)
    if body.username is not None and user_id is None:
        message = f"{body.username} does not trade on account {account.slug}; name a user who does"
        faults.append(FieldFault(field="username", message=message))
    unit = UNITS[name]
    currency = account.currency if unit is LimitUnit.MONEY else None
    if body.currency not in {None, currency}:
        mend = "leave it out" if currency is None else f"send {currency}, in which the account is kept"
        faults.append(FieldFault(field="currency", message=f"{name} is counted in {currency or unit}; {mend}"))
    if faults:
        raise invalid(faults)
    return LimitScope(account_id=account.id, user_id=user_id, unit=unit, currency=currency)
