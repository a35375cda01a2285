"""Proving who one is: with a second factor at login, and anew before what must not be done lightly."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from api import totp
from api.callers import Caller, Session
from api.connections import Connections
from api.errors import Problem
from api.passkeys import PasskeyRefused, challenge_in, new_challenge
from api.tokens import digest
from api.vault import VaultKeyMissing
from db import factors
from db.factors import Purpose
from db.sessions import PROOF_LASTS, Proof

# Four groups of seven letters of thirty-two are 140 bits; without l, o, 0 and 1, which people mix up.
_GROUPS, _GROUP_LETTERS = 4, 7
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


class SecondFactor(BaseModel):
    """Exactly one of a code of an authenticator app, a recovery code, and what a passkey signed.

    `assertion` is the credential of `navigator.credentials.get`, as its `toJSON` gives it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")] | None = None
    recovery_code: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    assertion: Annotated[dict[str, Any], Field(max_length=16)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in self.ways()) != 1:
            raise ValueError("send exactly one way to prove who you are")
        return self

    def ways(self) -> tuple[object, ...]:
        return self.code, self.recovery_code, self.assertion


@dataclass(frozen=True, kw_only=True)
class Prover:
    """Checks what a user sent against the factors of that user, within the caller's transaction."""

    connected: Connections
    user_id: UUID

    async def proves(self, connection: AsyncConnection, given: SecondFactor) -> Proof | None:
        """By what it proves who they are; None if it does not. What was used up stays so, so commit either way."""
        if given.code is not None:
            return await self._code(connection, given.code)
        if given.recovery_code is not None:
            code_hash = recovery_hash(given.recovery_code)
            used = await factors.use_recovery_code(connection, self.user_id, code_hash=code_hash)
            return Proof.RECOVERY if used else None
        assert given.assertion is not None, "a body names exactly one way"
        return await self._assertion(connection, given.assertion)

    async def confirms(self, connection: AsyncConnection, factor_id: UUID, code: str) -> bool:
        """Whether the code is of the authenticator app that is being enrolled."""
        found = await factors.read_totp(connection, self.user_id, unconfirmed=factor_id)
        return any([await self._uses(connection, each, code) for each in found])

    async def options(self, connection: AsyncConnection) -> dict[str, Any] | None:
        """What a browser needs to ask a passkey, with a challenge of its own; None if there is no passkey."""
        known = await factors.read_passkeys(connection, self.user_id)
        if self.connected.passkeys is None or not known:
            return None
        challenge = new_challenge()
        await factors.give_challenge(connection, self.user_id, challenge, purpose=Purpose.PROVE)
        return self.connected.passkeys.request(known, challenge=challenge)

    async def _code(self, connection: AsyncConnection, code: str) -> Proof | None:
        for each in await factors.read_totp(connection, self.user_id):
            if await self._uses(connection, each, code):
                return Proof.TOTP
        return None

    async def _uses(self, connection: AsyncConnection, app: factors.Totp, code: str) -> bool:
        vault, about = self.connected.vault, f"factor {app.id}"
        try:
            secret = vault.open(app.secret, about=about)
        except VaultKeyMissing as error:
            raise Problem(409, "factor_unreadable", f"{error}: have it reset, and enrol it again") from error
        step = totp.step_of(secret, code, now=datetime.now(UTC))
        if step is None:
            return False
        resealed = vault.seal(secret, about=about) if vault.outdated(app.secret) else None
        return await factors.use_totp(connection, app.id, step=step, resealed=resealed)

    async def _assertion(self, connection: AsyncConnection, credential: dict[str, Any]) -> Proof | None:
        if self.connected.passkeys is None:
            raise passkeys_unavailable()
        known = await factors.read_passkeys(connection, self.user_id)
        try:
            challenge = challenge_in(credential)
            given = await factors.take_challenge(connection, self.user_id, challenge, purpose=Purpose.PROVE)
            if not given:
                return None
            passkey, sign_count = self.connected.passkeys.signed(credential, known, challenge=challenge)
        except PasskeyRefused:
            return None
        used = await factors.use_passkey(connection, passkey, sign_count=sign_count)
        return Proof.WEBAUTHN if used else None


def require_proof(caller: Caller, connected: Connections) -> Session:
    """The caller's session, if they have just proven who they are, by a second factor if they have one.

    In production everybody needs one for this; elsewhere whoever has none is taken at their token.
    """
    session = require_session(caller)
    if session.has_factor:
        if not session.proven_lately or session.proven_by is Proof.PASSWORD:
            raise step_up_required()
    elif connected.rules.factor_required:
        raise Problem(
            403,
            "factor_required",
            "this takes a second factor, and you have none; enrol one by POST /api/auth/factors/totp or a passkey "
            "by POST /api/auth/factors/webauthn, then send the same request again",
        )
    return session


def require_recent_proof(caller: Caller) -> Session:
    """The caller's session, if they have just proven who they are, whether or not they have a second factor."""
    session = require_session(caller)
    if not session.proven_lately or (session.has_factor and session.proven_by is Proof.PASSWORD):
        raise step_up_required()
    return session


def require_session(caller: Caller) -> Session:
    if not isinstance(caller.via, Session):
        raise Problem(403, "session_required", "an API key does not reach here; log in as a person")
    return caller.via


def new_recovery_code() -> str:
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP_LETTERS)) for _ in range(_GROUPS))


def recovery_hash(code: str) -> str:
    """By which the code is stored and found, however its owner writes it."""
    return digest(code.replace("-", "").replace(" ", "").lower())


def step_up_required() -> Problem:
    detail = (
        "prove again who you are by POST /api/auth/step-up, then send the same request again within "
        f"{PROOF_LASTS // timedelta(minutes=1)} minutes"
    )
    return Problem(403, "step_up_required", detail)


def passkeys_unavailable() -> Problem:
    return Problem(409, "passkeys_unavailable", "no passkeys here: WEBAUTHN_ORIGIN does not name the dashboard")
