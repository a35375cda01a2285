"""Second factors over REST: enrolled, confirmed, listed and removed, each after proving who one is."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from api import totp
from api.callers import Caller
from api.connections import Connections
from api.dependencies import CallerDep, ConnectionsDep
from api.errors import FieldFault, Problem, invalid
from api.passkeys import PasskeyRefused, challenge_in, new_challenge
from api.proofs import (
    Prover,
    new_recovery_code,
    passkeys_unavailable,
    recovery_hash,
    require_recent_proof,
    require_session,
)
from api.views import View
from db import factors, sessions
from db.factors import FactorKind, NewFactor, Passkey, Purpose
from db.sessions import Proof

router = APIRouter(prefix="/api/auth/factors", tags=["auth"])

RECOVERY_CODES = 10

Label = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]+$")]


class TotpBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"label": "phone"}]})

    label: Label


class ConfirmBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"code": "123456"}]})

    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]


class PasskeyBody(BaseModel):
    """`credential` is that of `navigator.credentials.create`, as its `toJSON` gives it."""

    model_config = ConfigDict(extra="forbid")

    label: Label
    credential: Annotated[dict[str, Any], Field(max_length=16)]


class Factor(View):
    id: UUID
    kind: FactorKind
    label: str
    confirmed_at: datetime
    used_at: datetime | None


class Factors(View):
    items: list[Factor]
    recovery_codes_left: int


class TotpOffered(View):
    """Shown once: the secret for an authenticator app, and the address to draw as a picture for it.

    It counts once a code of it was sent to /api/auth/factors/{id}/confirm.
    """

    id: UUID
    secret: str
    uri: str


class PasskeyOffered(View):
    """The options of `navigator.credentials.create`, good for two minutes."""

    passkey: dict[str, Any]


class FactorAdded(View):
    """With the first factor come recovery codes, each for one use, shown this once."""

    id: UUID
    recovery_codes: list[str] | None


class RecoveryCodes(View):
    """Each for one use, shown this once; the ones before them are worth nothing now."""

    recovery_codes: list[str]


@router.get("")
async def list_factors(connected: ConnectionsDep, caller: CallerDep) -> Factors:
    """Your second factors, the oldest first."""
    require_session(caller)

    async def read(connection: AsyncConnection) -> Factors:
        rows = await factors.list_factors(connection, caller.id)
        left = await factors.count_recovery_codes(connection, caller.id)
        return Factors(items=[Factor.model_validate(row) for row in rows], recovery_codes_left=left)

    return await connected.books.read(read)


@router.post("/totp", status_code=201)
async def offer_totp(body: TotpBody, connected: ConnectionsDep, caller: CallerDep) -> TotpOffered:
    """Begin with an authenticator app."""
    require_recent_proof(caller)
    new = NewFactor(id=uuid4(), user_id=caller.id, label=body.label)
    secret = totp.new_secret()
    sealed = connected.vault.seal(secret, about=f"factor {new.id}")
    await connected.books.change(lambda connection: factors.add_totp(connection, new, secret=sealed))
    return TotpOffered(id=new.id, secret=totp.base32(secret), uri=totp.uri(secret, username=caller.user.username))


@router.post("/{factor_id}/confirm")
async def confirm_totp(
    factor_id: UUID, body: ConfirmBody, connected: ConnectionsDep, caller: CallerDep
) -> FactorAdded:
    """Show that the app has the secret; from now on it is asked for."""
    session = require_recent_proof(caller)
    prover = Prover(connected=connected, user_id=caller.id)

    async def confirm(connection: AsyncConnection) -> FactorAdded:
        waiting = await factors.read_totp(connection, caller.id, unconfirmed=factor_id)
        if not waiting:
            raise _not_found(factor_id)
        if not await prover.confirms(connection, factor_id, body.code):
            message = "is not what the app shows now; look at the clock of the phone and of this server"
            raise invalid([FieldFault(field="code", message=message)])
        first = not await factors.list_factors(connection, caller.id)
        await factors.confirm_totp(connection, caller.id, factor_id)
        await sessions.prove(connection, caller.id, session.id, by=Proof.TOTP)
        return await _added(connection, caller, factor_id, first=first)

    return await connected.books.change(confirm)


@router.post("/webauthn/options")
async def offer_passkey(connected: ConnectionsDep, caller: CallerDep) -> PasskeyOffered:
    """Begin with a passkey."""
    require_recent_proof(caller)
    passkeys = connected.passkeys
    if passkeys is None:
        raise passkeys_unavailable()

    async def offer(connection: AsyncConnection) -> PasskeyOffered:
        challenge = new_challenge()
        await factors.give_challenge(connection, caller.id, challenge, purpose=Purpose.ENROL)
        known = await factors.read_passkeys(connection, caller.id)
        return PasskeyOffered(passkey=passkeys.creation(caller.user, known, challenge=challenge))

    return await connected.books.change(offer)


@router.post("/webauthn", status_code=201)
async def add_passkey(body: PasskeyBody, connected: ConnectionsDep, caller: CallerDep) -> FactorAdded:
    """Add the passkey that the browser made; it was used to make it, so that it counts from now on."""
    session = require_recent_proof(caller)

    async def add(connection: AsyncConnection) -> FactorAdded | None:
        made = await _made(connection, connected, caller, body.credential)
        if made is None:
            return None
        first = not await factors.list_factors(connection, caller.id)
        new = NewFactor(id=made.id, user_id=caller.id, label=body.label)
        if not await factors.add_passkey(connection, new, made=made):
            raise Problem(409, "passkey_known", "this passkey is enrolled already")
        await sessions.prove(connection, caller.id, session.id, by=Proof.WEBAUTHN)
        return await _added(connection, caller, new.id, first=first)

    # The challenge is used up whatever became of it, so that a refusal is no exception in there.
    added = await connected.books.change(add)
    if added is None:
        message = "is no answer to the options that were given out; ask for new ones and try again"
        raise invalid([FieldFault(field="credential", message=message)])
    return added


@router.delete("/{factor_id}", status_code=204)
async def remove_factor(factor_id: UUID, connected: ConnectionsDep, caller: CallerDep) -> None:
    """Remove a factor, after step-up; with the last one go the recovery codes."""
    require_recent_proof(caller)
    removed = await connected.books.change(
        lambda connection: factors.remove_factor(connection, caller.id, factor_id)
    )
    if not removed:
        raise _not_found(factor_id)


@router.post("/recovery-codes")
async def make_recovery_codes(connected: ConnectionsDep, caller: CallerDep) -> RecoveryCodes:
    """New recovery codes in place of all former ones, after step-up."""
    if not require_recent_proof(caller).has_factor:
        raise Problem(409, "factor_required", "recovery codes stand in for a second factor; enrol one first")
    codes = await connected.books.change(lambda connection: _recovery_codes(connection, caller))
    return RecoveryCodes(recovery_codes=codes)


async def _made(
    connection: AsyncConnection, connected: Connections, caller: Caller, credential: dict[str, Any]
) -> Passkey | None:
    if connected.passkeys is None:
        raise passkeys_unavailable()
    try:
        challenge = challenge_in(credential)
        if not await factors.take_challenge(connection, caller.id, challenge, purpose=Purpose.ENROL):
            return None
        made = connected.passkeys.made(credential, challenge=challenge)
    except PasskeyRefused:
        return None
    return Passkey(
        id=uuid4(), credential_id=made.credential_id, public_key=made.public_key, sign_count=made.sign_count
    )


async def _added(connection: AsyncConnection, caller: Caller, factor_id: UUID, *, first: bool) -> FactorAdded:
    codes = await _recovery_codes(connection, caller) if first else None
    return FactorAdded(id=factor_id, recovery_codes=codes)


async def _recovery_codes(connection: AsyncConnection, caller: Caller) -> list[str]:
    codes = [new_recovery_code() for _ in range(RECOVERY_CODES)]
    await factors.set_recovery_codes(connection, caller.id, [recovery_hash(code) for code in codes])
    return codes


def _not_found(factor_id: UUID) -> Problem:
    return Problem(404, "factor_not_found", f"you have no factor {factor_id}")
