"""API keys: made, replaced and revoked, and each signature of theirs taken once.

1. A nonce is kept in one statement, by whichever process comes first; the others find it kept. It stays for longer
   than any signature is good for, so that it is never forgotten while it matters.
2. What a key opens never changes. A revoked key stays revoked, for every process from its next request on.
3. Of a key and what replaces it, two live at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import record
from db.tables import api_keys

Network = IPv4Network | IPv6Network

# Of what has expired, each signature removes more than it adds.
_KEEP_NONCE = text("""
    WITH gone AS (
        DELETE FROM api_key_nonces WHERE (key_id, nonce) IN (
            SELECT key_id, nonce FROM api_key_nonces WHERE expires_at < clock_timestamp()
            ORDER BY expires_at LIMIT 8 FOR UPDATE SKIP LOCKED)
    ), kept AS (
        INSERT INTO api_key_nonces (key_id, nonce, expires_at) VALUES (:key_id, :nonce, :expires_at)
        ON CONFLICT DO NOTHING RETURNING key_id
    ), used AS (
        UPDATE api_keys k SET last_used_at = clock_timestamp(), last_address = :address,
                              secret = coalesce(CAST(:resealed AS bytea), k.secret)
        FROM kept
        WHERE k.id = kept.key_id
          AND (k.last_used_at IS NULL OR k.last_address <> :address OR CAST(:resealed AS bytea) IS NOT NULL
               OR k.last_used_at < clock_timestamp() - CAST(:noted_every AS interval))
    )
    SELECT key_id FROM kept
""")

# Noting every use would make all requests of a key wait for one row.
_NOTED_EVERY = timedelta(seconds=10)

_ALIVE = (api_keys.c.revoked_at.is_(None), api_keys.c.expires_at > func.clock_timestamp())
_SHOWN = tuple(column for column in api_keys.c if column.name not in {"secret", "user_id"})


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key that lives; its secret as it is sealed."""

    id: UUID
    user_id: UUID
    secret: bytes
    scopes: tuple[str, ...]
    networks: tuple[Network, ...]
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewKey:
    id: UUID
    user_id: UUID
    name: str
    secret: bytes
    scopes: Sequence[str]
    networks: Sequence[Network]
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A signature that is right, kept until `expires_at`.

    `resealed` is the secret sealed anew, if it was sealed with a former key.
    """

    key_id: UUID
    nonce: str
    expires_at: datetime
    address: str
    resealed: bytes | None


async def find_key(connection: AsyncConnection, key_id: UUID) -> ApiKey | None:
    """None if there is none, or it is revoked or over."""
    named = (api_keys.c.id, api_keys.c.user_id, api_keys.c.secret)
    query = select(*named, api_keys.c.scopes, api_keys.c.networks, api_keys.c.expires_at)
    row = (await connection.execute(query.where(api_keys.c.id == key_id, *_ALIVE))).mappings().one_or_none()
    if row is None:
        return None
    return ApiKey(**{**row, "scopes": tuple(row["scopes"]), "networks": tuple(row["networks"])})


async def keep_nonce(connection: AsyncConnection, signed: Signed) -> bool:
    """Take what was signed; False if it came before."""
    kept = await connection.execute(_KEEP_NONCE, {**vars(signed), "noted_every": _NOTED_EVERY})
    return kept.one_or_none() is not None


async def list_keys(connection: AsyncConnection, user_id: UUID) -> list[dict[str, Any]]:
    """The keys that live, the oldest first, without their secrets."""
    query = select(*_SHOWN).where(api_keys.c.user_id == user_id, *_ALIVE)
    return [
        dict(row)
        for row in (await connection.execute(query.order_by(api_keys.c.created_at, api_keys.c.id))).mappings()
    ]


async def read_key(connection: AsyncConnection, user_id: UUID, key_id: UUID) -> dict[str, Any] | None:
    """A key of the user as it is listed, locked, whether or not it lives; None if they have none by that id."""
    query = select(*_SHOWN).where(api_keys.c.id == key_id, api_keys.c.user_id == user_id).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else dict(row)


async def add_key(connection: AsyncConnection, new: NewKey) -> bool:
    """Add a key; False, and nothing changed, if the user has another one of that name that was not revoked."""
    added = await connection.execute(
        pg_insert(api_keys)
        .values(vars(new))
        .on_conflict_do_nothing(
            index_elements=[api_keys.c.user_id, api_keys.c.name],
            index_where=text("revoked_at IS NULL AND replaced_at IS NULL"),
        )
        .returning(api_keys.c.id)
    )
    if added.one_or_none() is None:
        return False
    await _record(connection, "key.added", new.user_id, _told(new), actor=f"user:{new.user_id}")
    return True


async def lives(connection: AsyncConnection, key_id: UUID) -> bool:
    return (
        await connection.execute(select(api_keys.c.id).where(api_keys.c.id == key_id, *_ALIVE))
    ).first() is not None


async def replace_key(connection: AsyncConnection, old_id: UUID, new: NewKey, *, overlap: timedelta) -> None:
    """Put a key in the place of one that `read_key` has locked, which lives on for the overlap at most."""
    until = func.least(api_keys.c.expires_at, func.clock_timestamp() + overlap)
    await connection.execute(
        update(api_keys)
        .where(api_keys.c.id == old_id)
        .values(replaced_at=func.clock_timestamp(), expires_at=until)
    )
    await connection.execute(insert(api_keys).values({**vars(new), "replaces": old_id}))
    detail = {**_told(new), "replaces": old_id, "overlap_s": int(overlap.total_seconds())}
    await _record(connection, "key.rotated", new.user_id, detail, actor=f"user:{new.user_id}")


async def revoke_key(connection: AsyncConnection, user_id: UUID, key_id: UUID, *, actor: str) -> bool:
    """Revoke a key of the user, again without effect; False if they have none by that id."""
    known = await read_key(connection, user_id, key_id)
    if known is None:
        return False
    if known["revoked_at"] is None:
        await connection.execute(
            update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=func.clock_timestamp())
        )
        await _record(connection, "key.revoked", user_id, {"key": key_id, "name": known["name"]}, actor=actor)
    return True


def _told(new: NewKey) -> dict[str, Any]:
    return {
        "key": new.id,
        "name": new.name,
        "scopes": list(new.scopes),
        "networks": [str(each) for each in new.networks],
        "expires_at": new.expires_at,
    }


async def _record(
    connection: AsyncConnection, action: str, user_id: UUID, detail: dict[str, Any], *, actor: str
) -> None:
    await record(connection, action, actor=actor, subject=f"user:{user_id}", detail=detail, user_id=user_id)
