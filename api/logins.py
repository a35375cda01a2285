"""Coming in and going: login, its second factor, new tokens for old ones, and logout.

Whoever may not come in gets one answer, after one time, whatever the reason: unknown, disabled, a wrong password,
or too many tries before.
"""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal, Self
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from api.addresses import address_of
from api.connections import Connections
from api.dependencies import CallerDep, ConnectionsDep, unauthorised
from api.errors import Problem
from api.passwords import PASSWORD_LENGTH_MAX
from api.proofs import Prover, SecondFactor, require_session
from api.rates import hold_logins_to_rate
from api.tokens import digest, new_secret
from api.views import View
from db import login_tries, pending_logins
from db.factors import FactorKind, count_recovery_codes, list_factors
from db.login_tries import Try
from db.sessions import (
    Betrayed,
    EndCause,
    NewSession,
    Proof,
    Refresh,
    Refused,
    Renewed,
    begin_session,
    end_session,
    renew,
    revoke_token,
)
from db.users import Role, User, find_credentials, rehash

router = APIRouter(prefix="/api/auth", tags=["auth"])

_LIMITED = [Depends(hold_logins_to_rate)]

_AGENT_LENGTH_MAX = 200
_SECRET = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class LoginBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"username": "trader", "password": "the one shown once"}]}
    )

    username: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[^\x00-\x1f\x7f]+$")]
    password: Annotated[str, StringConstraints(min_length=1, max_length=PASSWORD_LENGTH_MAX)]


class FactorBody(SecondFactor):
    """The `login_token` of the login, and one way to prove who you are."""

    login_token: _SECRET


class RefreshBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    refresh_token: _SECRET


class Profile(View):
    id: UUID
    username: str
    role: Role
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> Self:
        return cls(id=user.id, username=user.username, role=user.role, created_at=user.created_at)


class LoggedIn(View):
    """Send `access_token` as `Authorization: Bearer …` until `expires_at`; before, or then, refresh it.

    A `refresh_token` is good for one refresh until `refresh_expires_at`. One that comes a second time ends the
    session, since somebody else may have it; only within ten seconds it gets the same answer, which may have been
    lost on its way.
    """

    access_token: str
    token_type: Literal["bearer"]
    expires_at: datetime
    expires_in: int
    refresh_token: str
    refresh_expires_at: datetime
    session_id: UUID
    user: Profile


class FactorAwaited(View):
    """The password is right. Send the token with a second factor to /api/auth/login/factor within five minutes.

    `passkey` has the options of `navigator.credentials.get`, if there is a passkey.
    """

    login_token: str
    kinds: list[FactorKind]
    recovery_codes_left: int
    passkey: dict[str, object] | None


@router.post(
    "/login",
    dependencies=_LIMITED,
    responses={202: {"model": FactorAwaited, "description": "A second factor is awaited"}},
)
async def login(
    body: LoginBody, request: Request, response: Response, connected: ConnectionsDep
) -> LoggedIn | FactorAwaited:
    """An access token for a name and a password, or a request for the second factor."""
    address = address_of(request)
    admitted = await knock(connected, body.username, address=address)
    if admitted is None:
        await connected.passwords.pretend()
        raise _no_entry()
    found = await connected.books.read(lambda connection: find_credentials(connection, body.username))
    matched = await connected.passwords.matches(body.password, None if found is None else found[1])
    if found is None or not matched or not found[0].enabled:
        await connected.books.change(
            lambda connection: login_tries.failed(
                connection, admitted, username=body.username, known=found is not None, address=address
            )
        )
        raise _no_entry()
    user, password_hash = found
    if connected.passwords.outdated(password_hash):
        renewed = await connected.passwords.hashed(body.password)
        await connected.books.change(
            lambda connection: rehash(connection, user.id, old=password_hash, new=renewed)
        )
    awaited = await connected.books.change(partial(_await_factor, connected=connected, user=user, this=admitted))
    if awaited is not None:
        response.status_code = 202
        return awaited
    return await connected.books.change(
        lambda connection: _enter(connection, connected, user, request=request, this=admitted, by=Proof.PASSWORD)
    )


@router.post("/login/factor", dependencies=_LIMITED)
async def login_factor(body: FactorBody, request: Request, connected: ConnectionsDep) -> LoggedIn:
    """An access token for a second factor, after the password was right."""
    token_hash = digest(body.login_token)
    user = await connected.books.read(lambda connection: pending_logins.find(connection, token_hash=token_hash))
    if user is None:
        raise unauthorised("login_over", "this login is over, or was never begun; log in again")
    admitted = await knock(connected, user.username, address=address_of(request))
    if admitted is None:
        raise _no_factor()
    prover = Prover(connected=connected, user_id=user.id)

    async def enter(connection: AsyncConnection) -> LoggedIn | None:
        by = await prover.proves(connection, body)
        if by is None or not await pending_logins.finish(connection, token_hash=token_hash):
            await login_tries.failed(
                connection, admitted, username=user.username, known=True, address=address_of(request)
            )
            return None
        return await _enter(connection, connected, user, request=request, this=admitted, by=by)

    entered = await connected.books.change(enter)
    if entered is None:
        raise _no_factor()
    return entered


@router.post("/refresh", dependencies=_LIMITED)
async def refresh(body: RefreshBody, connected: ConnectionsDep) -> LoggedIn:
    """New tokens for a refresh token, which is used up by it."""
    successors = {digest(each): each for each in connected.tokens.successors(body.refresh_token)}
    asked = Refresh(
        token_hash=digest(body.refresh_token),
        successors=tuple(successors),
        lasts=connected.rules.session_idle,
    )
    # Also what ends the session has to be committed, so that no outcome is an exception in there.
    outcome = await connected.books.change(lambda connection: renew(connection, asked))
    match outcome:
        case Renewed():
            return _logged_in(
                connected,
                outcome.user,
                session_id=outcome.session_id,
                refresh_token=successors[outcome.successor],
                refresh_expires_at=outcome.expires_at,
            )
        case Betrayed() | Refused():
            raise unauthorised("refresh_token_invalid", "the refresh token is not valid here; log in again")


@router.post("/logout", status_code=204)
async def logout(connected: ConnectionsDep, caller: CallerDep) -> None:
    """End the session. Its tokens are refused from the next request on, wherever it arrives."""
    session, who = require_session(caller), caller.principal

    async def end(connection: AsyncConnection) -> None:
        assert who.credential.token_hash is not None, "a session's request carries a token"
        await revoke_token(connection, caller.id, token_hash=who.credential.token_hash, expires_at=who.expires_at)
        await end_session(connection, caller.id, session.id, cause=EndCause.LOGOUT, actor=f"user:{caller.id}")

    await connected.books.change(end)


async def knock(connected: Connections, name: str, *, address: str) -> Try | None:
    """Count a try to prove who one is; None if the name or the address has to wait."""
    async with connected.doors:
        return await connected.books.change(
            lambda connection: login_tries.admit(connection, username=name, address=address)
        )


async def _await_factor(
    connection: AsyncConnection, *, connected: Connections, user: User, this: Try
) -> FactorAwaited | None:
    """Keep the login until the factor comes; None if the user has none."""
    known = await list_factors(connection, user.id)
    if not known:
        return None
    token = new_secret()
    await login_tries.half_succeeded(connection, this)
    await pending_logins.keep(connection, user.id, token_hash=digest(token))
    return FactorAwaited(
        login_token=token,
        kinds=sorted({FactorKind(each["kind"]) for each in known}),
        recovery_codes_left=await count_recovery_codes(connection, user.id),
        passkey=await Prover(connected=connected, user_id=user.id).options(connection),
    )


async def _enter(
    connection: AsyncConnection, connected: Connections, user: User, *, request: Request, this: Try, by: Proof
) -> LoggedIn:
    token, rules = new_secret(), connected.rules
    now = datetime.now(UTC)
    session = NewSession(
        id=uuid4(),
        user_id=user.id,
        address=address_of(request),
        agent="".join(filter(str.isprintable, request.headers.get("user-agent", "")))[:_AGENT_LENGTH_MAX],
        proven_by=by,
        expires_at=now + rules.session_ttl,
    )
    await begin_session(connection, session, token_hash=digest(token), lasts=rules.session_idle)
    await login_tries.succeeded(connection, this)
    return _logged_in(
        connected,
        user,
        session_id=session.id,
        refresh_token=token,
        refresh_expires_at=min(now + rules.session_idle, session.expires_at),
    )


def _logged_in(
    connected: Connections, user: User, *, session_id: UUID, refresh_token: str, refresh_expires_at: datetime
) -> LoggedIn:
    now = datetime.now(UTC)
    token = connected.tokens.issue(user.id, session_id, now=now)
    return LoggedIn(
        access_token=token.text,
        token_type="bearer",  # noqa: S106 - the kind of token, not one
        expires_at=token.expires_at,
        expires_in=int((token.expires_at - now).total_seconds()),
        refresh_token=refresh_token,
        refresh_expires_at=refresh_expires_at,
        session_id=session_id,
        user=Profile.of(user),
    )


def _no_entry() -> Problem:
    detail = (
        "the name or the password is wrong, the user is disabled, or too many logins failed: wait, then try again"
    )
    return unauthorised("credentials_invalid", detail)


def _no_factor() -> Problem:
    detail = "the second factor is wrong or was used before, or too many were wrong: wait, then try again"
    return unauthorised("factor_invalid", detail)
