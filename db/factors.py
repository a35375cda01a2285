"""Second factors: codes of an authenticator app, passkeys, and recovery codes for when both are lost.

1. A code counts once: the newest step that was used is raised in the statement that checks it.
2. A passkey's counter rises with each use, in a statement that finds it as it was read; a challenge is taken once.
3. Of a recovery code only the hash is kept, and it counts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import record
from db.tables import factors, recovery_codes, webauthn_challenges

CHALLENGE_LASTS = timedelta(minutes=2)


class FactorKind(StrEnum):
    TOTP = "totp"
    WEBAUTHN = "webauthn"


class Purpose(StrEnum):
    """What a challenge was given out for."""

    ENROL = "enrol"
    PROVE = "prove"


@dataclass(frozen=True, kw_only=True)
class Totp:
    """An authenticator app; its secret as it is sealed."""

    id: UUID
    secret: bytes


@dataclass(frozen=True, kw_only=True)
class Passkey:
    id: UUID
    credential_id: bytes
    public_key: bytes
    sign_count: int


@dataclass(frozen=True, kw_only=True)
class NewFactor:
    id: UUID
    user_id: UUID
    label: str


async def list_factors(connection: AsyncConnection, user_id: UUID) -> list[dict[str, Any]]:
    """The confirmed factors, the oldest first, without their secrets."""
    shown = (factors.c.id, factors.c.kind, factors.c.label, factors.c.confirmed_at, factors.c.used_at)
    query = select(*shown).where(*_confirmed(user_id)).order_by(factors.c.confirmed_at, factors.c.id)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def count_recovery_codes(connection: AsyncConnection, user_id: UUID) -> int:
    """How many are left."""
    query = select(func.count()).where(recovery_codes.c.user_id == user_id, recovery_codes.c.used_at.is_(None))
    return int(await connection.scalar(query) or 0)


async def add_totp(connection: AsyncConnection, new: NewFactor, *, secret: bytes) -> None:
    """Keep a sealed secret until a code of it confirms it; an earlier one that never was goes."""
    await connection.execute(
        delete(factors).where(factors.c.user_id == new.user_id, factors.c.confirmed_at.is_(None))
    )
    values = {"id": new.id, "user_id": new.user_id, "label": new.label, "kind": FactorKind.TOTP, "secret": secret}
    await connection.execute(insert(factors).values(values))


async def add_passkey(connection: AsyncConnection, new: NewFactor, *, made: Passkey) -> bool:
    """Add a passkey that has just proven itself; False if it is enrolled already."""
    taken = select(factors.c.id).where(factors.c.credential_id == made.credential_id)
    if (await connection.execute(taken)).one_or_none() is not None:
        return False
    values = {"id": new.id, "user_id": new.user_id, "label": new.label, "kind": FactorKind.WEBAUTHN}
    credential = {
        "credential_id": made.credential_id,
        "public_key": made.public_key,
        "sign_count": made.sign_count,
        "confirmed_at": func.clock_timestamp(),
    }
    await connection.execute(insert(factors).values({**values, **credential}))
    await _record(connection, "factor.added", new.user_id, {"factor": new.id, "kind": FactorKind.WEBAUTHN})
    return True


async def read_totp(connection: AsyncConnection, user_id: UUID, *, unconfirmed: UUID | None = None) -> list[Totp]:
    """The authenticator apps of the user; or the one that is being enrolled, if it is named."""
    which = _confirmed(user_id) if unconfirmed is None else _unconfirmed(user_id, unconfirmed)
    query = select(factors.c.id, factors.c.secret).where(*which, factors.c.kind == FactorKind.TOTP)
    return [Totp(id=row["id"], secret=row["secret"]) for row in (await connection.execute(query)).mappings()]


async def read_passkeys(connection: AsyncConnection, user_id: UUID) -> list[Passkey]:
    shown = (factors.c.id, factors.c.credential_id, factors.c.public_key, factors.c.sign_count)
    query = select(*shown).where(*_confirmed(user_id), factors.c.kind == FactorKind.WEBAUTHN)
    return [Passkey(**row) for row in (await connection.execute(query)).mappings()]


async def use_totp(connection: AsyncConnection, factor_id: UUID, *, step: int, resealed: bytes | None) -> bool:
    """Use the code of a step; False if it or a later one was used before."""
    fresh = factors.c.last_step.is_(None) | (factors.c.last_step < step)
    values = {"last_step": step, "used_at": func.clock_timestamp()}
    sealed = {} if resealed is None else {"secret": resealed}
    used = await connection.execute(
        update(factors)
        .where(factors.c.id == factor_id, fresh)
        .values({**values, **sealed})
        .returning(factors.c.id)
    )
    return used.one_or_none() is not None


async def confirm_totp(connection: AsyncConnection, user_id: UUID, factor_id: UUID) -> None:
    await connection.execute(
        update(factors).where(*_unconfirmed(user_id, factor_id)).values(confirmed_at=func.clock_timestamp())
    )
    await _record(connection, "factor.added", user_id, {"factor": factor_id, "kind": FactorKind.TOTP})


async def use_passkey(connection: AsyncConnection, passkey: Passkey, *, sign_count: int) -> bool:
    """Raise the counter; False if another request has raised it meanwhile."""
    used = await connection.execute(
        update(factors)
        .where(factors.c.id == passkey.id, factors.c.sign_count == passkey.sign_count)
        .values(sign_count=sign_count, used_at=func.clock_timestamp())
        .returning(factors.c.id)
    )
    return used.one_or_none() is not None


async def use_recovery_code(connection: AsyncConnection, user_id: UUID, *, code_hash: str) -> bool:
    used = await connection.execute(
        update(recovery_codes)
        .where(
            recovery_codes.c.code_hash == code_hash,
            recovery_codes.c.user_id == user_id,
            recovery_codes.c.used_at.is_(None),
        )
        .values(used_at=func.clock_timestamp())
        .returning(recovery_codes.c.code_hash)
    )
    if used.one_or_none() is None:
        return False
    await _record(connection, "factor.recovery_code_used", user_id, {})
    return True


async def set_recovery_codes(connection: AsyncConnection, user_id: UUID, code_hashes: Sequence[str]) -> None:
    """Replace all recovery codes, the used ones as well."""
    await connection.execute(delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    rows = [{"code_hash": code_hash, "user_id": user_id} for code_hash in code_hashes]
    await connection.execute(insert(recovery_codes), rows)
    await _record(connection, "factor.recovery_codes_made", user_id, {"count": len(rows)})


async def remove_factor(connection: AsyncConnection, user_id: UUID, factor_id: UUID) -> bool:
    """Remove one of the user's factors; with the last one go the recovery codes. False if it is not theirs."""
    gone = await connection.execute(
        delete(factors).where(*_confirmed(user_id), factors.c.id == factor_id).returning(factors.c.kind)
    )
    row = gone.one_or_none()
    if row is None:
        return False
    if not await list_factors(connection, user_id):
        await connection.execute(delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    await _record(connection, "factor.removed", user_id, {"factor": factor_id, "kind": row.kind})
    return True


async def reset_factors(connection: AsyncConnection, user_id: UUID, *, actor: str) -> int:
    """Remove all factors and recovery codes of a user who has lost them; returns how many factors there were."""
    gone = await connection.execute(delete(factors).where(factors.c.user_id == user_id))
    await connection.execute(delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    await _record(connection, "factor.reset", user_id, {"count": gone.rowcount}, actor=actor)
    return gone.rowcount


async def give_challenge(connection: AsyncConnection, user_id: UUID, challenge: str, *, purpose: Purpose) -> None:
    """Give a challenge out; those that nobody took back in time go."""
    given = webauthn_challenges.c
    await connection.execute(delete(webauthn_challenges).where(given.expires_at < func.clock_timestamp()))
    await connection.execute(
        insert(webauthn_challenges).values(
            challenge=challenge,
            user_id=user_id,
            purpose=purpose,
            expires_at=func.clock_timestamp() + CHALLENGE_LASTS,
        )
    )


async def take_challenge(connection: AsyncConnection, user_id: UUID, challenge: str, *, purpose: Purpose) -> bool:
    """Take a challenge back, once; False if it was not given to this user for this, or too long ago."""
    given = webauthn_challenges.c
    taken = await connection.execute(
        delete(webauthn_challenges)
        .where(given.challenge == challenge, given.user_id == user_id, given.purpose == purpose)
        .returning(given.expires_at, text("clock_timestamp() AS now"))
    )
    row = taken.one_or_none()
    if row is None:
        return False
    expires_at: datetime = row.expires_at
    return bool(expires_at > row.now)


def _confirmed(user_id: UUID) -> tuple[Any, ...]:
    return factors.c.user_id == user_id, factors.c.confirmed_at.is_not(None)


def _unconfirmed(user_id: UUID, factor_id: UUID) -> tuple[Any, ...]:
    return factors.c.user_id == user_id, factors.c.id == factor_id, factors.c.confirmed_at.is_(None)


async def _record(
    connection: AsyncConnection, action: str, user_id: UUID, detail: dict[str, Any], *, actor: str | None = None
) -> None:
    subject = f"user:{user_id}"
    await record(connection, action, actor=actor or subject, subject=subject, detail=detail, user_id=user_id)
