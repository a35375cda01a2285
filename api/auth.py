"""Who is logged in: the profile, the sessions, the password, and proving anew who one is."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from api.addresses import address_of
from api.callers import Caller
from api.connections import Connections
from api.dependencies import CallerDep, ConnectionsDep
from api.errors import FieldFault, Problem, invalid
from api.logins import Profile, knock
from api.password_rules import objection
from api.passwords import PASSWORD_LENGTH_MAX
from api.proofs import Prover, SecondFactor, require_session
from api.views import View
from db import login_tries, sessions
from db.sessions import EndCause, Proof
from db.users import find_credentials, set_password_hash

router = APIRouter(prefix="/api/auth", tags=["auth"])

_PASSWORD = Annotated[str, StringConstraints(min_length=1, max_length=PASSWORD_LENGTH_MAX)]


class PasswordBody(BaseModel):
    """`new_password` has 15 to 128 characters of any kind; it never has to be changed again."""

    model_config = ConfigDict(extra="forbid")

    current_password: _PASSWORD
    new_password: _PASSWORD


class StepUpBody(SecondFactor):
    """One way to prove who you are; the password only for whoever has no second factor."""

    password: _PASSWORD | None = None

    def ways(self) -> tuple[object, ...]:
        return *super().ways(), self.password

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in self.ways()) != 1:
            raise ValueError("send exactly one way to prove who you are")
        return self


class Session(View):
    """A login that goes on, `here` if it is the one that asks; `refreshed_at` is when its tokens were renewed."""

    id: UUID
    address: str
    agent: str
    began_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    proven_at: datetime
    proven_by: Proof
    here: bool


class Sessions(View):
    items: list[Session]


class SessionsEnded(View):
    ended: int


class SteppedUp(View):
    proven_at: datetime
    proven_by: Proof


class PasskeyAsked(View):
    """The options of `navigator.credentials.get`; none if you have no passkey."""

    passkey: dict[str, object] | None


@router.get("/profile")
async def profile(caller: CallerDep) -> Profile:
    """Who you are here."""
    return Profile.of(caller.user)


@router.get("/sessions")
async def list_sessions(connected: ConnectionsDep, caller: CallerDep) -> Sessions:
    """Your logins that go on, the last used first."""
    here = require_session(caller).id
    rows = await connected.books.read(lambda connection: sessions.list_sessions(connection, caller.id))
    return Sessions(items=[Session.model_validate({**row, "here": row["id"] == here}) for row in rows])


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: UUID, connected: ConnectionsDep, caller: CallerDep) -> None:
    """End one of your sessions, from the next request on."""
    require_session(caller)
    ended = await connected.books.change(
        lambda connection: sessions.end_session(
            connection, caller.id, session_id, cause=EndCause.ENDED, actor=f"user:{caller.id}"
        )
    )
    if not ended:
        raise Problem(404, "session_not_found", f"you have no session {session_id} that goes on")


@router.delete("/sessions")
async def end_other_sessions(connected: ConnectionsDep, caller: CallerDep) -> SessionsEnded:
    """End all of your sessions but this one."""
    here = require_session(caller).id
    ended = await connected.books.change(
        lambda connection: sessions.end_sessions(
            connection, caller.id, cause=EndCause.ENDED, actor=f"user:{caller.id}", but=here
        )
    )
    return SessionsEnded(ended=ended)


@router.post("/password", status_code=204)
async def change_password(
    body: PasswordBody, request: Request, connected: ConnectionsDep, caller: CallerDep
) -> None:
    """Change your password; your other sessions end."""
    here = require_session(caller).id
    found = objection(body.new_password, username=caller.user.username)
    if found is not None:
        raise invalid([FieldFault(field="new_password", message=found)])
    await _check_password(connected, caller, body.current_password, address=address_of(request))
    password_hash = await connected.passwords.hashed(body.new_password)
    actor = f"user:{caller.id}"

    async def change(connection: AsyncConnection) -> None:
        await set_password_hash(connection, caller.id, password_hash, actor=actor)
        await sessions.end_sessions(connection, caller.id, cause=EndCause.PASSWORD, actor=actor, but=here)

    await connected.books.change(change)


@router.post("/step-up")
async def step_up(body: StepUpBody, request: Request, connected: ConnectionsDep, caller: CallerDep) -> SteppedUp:
    """Prove anew who you are, which counts for five minutes."""
    session = require_session(caller)
    address = address_of(request)
    if body.password is not None:
        if session.has_factor:
            message = "is not enough, since you have a second factor; send a code, a recovery code or an assertion"
            raise invalid([FieldFault(field="password", message=message)])
        await _check_password(connected, caller, body.password, address=address)
        by = Proof.PASSWORD
    else:
        by = await _check_factor(connected, caller, body, address=address)
    proven_at = await connected.books.change(
        lambda connection: sessions.prove(connection, caller.id, session.id, by=by)
    )
    return SteppedUp(proven_at=proven_at, proven_by=by)


@router.post("/step-up/passkey")
async def ask_passkey(connected: ConnectionsDep, caller: CallerDep) -> PasskeyAsked:
    """What a browser needs to ask your passkey; its answer goes to step-up as `assertion`, within two minutes."""
    require_session(caller)
    prover = Prover(connected=connected, user_id=caller.id)
    return PasskeyAsked(passkey=await connected.books.change(prover.options))


async def _check_password(connected: Connections, caller: Caller, password: str, *, address: str) -> None:
    """Raise the problem unless it is the caller's; wrong ones in a row have to wait, as at login.

    They are counted by session: whoever has stolen one cannot keep its owner's others from proving anything.
    """
    admitted = await knock(connected, f"password in {require_session(caller).id}", address=address)
    if admitted is None:
        await connected.passwords.pretend()
        raise _not_proven()
    found = await connected.books.read(lambda connection: find_credentials(connection, caller.user.username))
    if not await connected.passwords.matches(password, None if found is None else found[1]):
        await connected.books.change(
            lambda connection: login_tries.failed(
                connection, admitted, username=caller.user.username, known=True, address=address
            )
        )
        raise _not_proven()
    await connected.books.change(lambda connection: login_tries.succeeded(connection, admitted))


async def _check_factor(connected: Connections, caller: Caller, given: SecondFactor, *, address: str) -> Proof:
    """By which factor it was proven; raises the problem if by none, and after too many without looking."""
    admitted = await knock(connected, f"factor in {require_session(caller).id}", address=address)
    if admitted is None:
        raise _not_proven()
    prover = Prover(connected=connected, user_id=caller.id)

    async def prove(connection: AsyncConnection) -> Proof | None:
        by = await prover.proves(connection, given)
        if by is None:
            await login_tries.failed(
                connection, admitted, username=caller.user.username, known=True, address=address
            )
        else:
            await login_tries.succeeded(connection, admitted)
        return by

    by = await connected.books.change(prove)
    if by is None:
        raise _not_proven()
    return by


def _not_proven() -> Problem:
    detail = "this does not prove who you are, or too many tries did not: wait, then try again"
    return Problem(403, "proof_invalid", detail)
