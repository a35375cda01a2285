"""Sessions: who is logged in, for how long, and by which tokens.

1. Of a session at most one refresh token is unused; using it makes the next one, in the same transaction.
2. A token that was used before ends the session, and people are told. Only the newest used one is answered again,
   with the successor that it had, for as long as an answer may have been lost on its way.
3. What is taken back is taken back for every process: each request asks, in the statement that reads its user.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import raise_alert, record
from db.tables import refresh_tokens, revoked_tokens, sessions
from db.users import User, user_of

# How long an answer with a new refresh token may have been lost before the old one coming again is an alarm.
ANSWER_LOST_WITHIN = timedelta(seconds=10)
# How long a proof of who one is counts for what must not be done lightly.
PROOF_LASTS = timedelta(minutes=5)

_BEARER = text("""
    SELECT u.id, u.username, u.role, u.enabled, u.created_at,
           lets_in(u.id, CAST(:session_id AS uuid), CAST(:token_hash AS text), CAST(:key_id AS uuid)) AS let_in,
           s.proven_at, s.proven_by,
           coalesce(s.proven_at > clock_timestamp() - CAST(:lately AS interval), false) AS proven_lately,
           EXISTS (SELECT FROM factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL) AS has_factor
    FROM users u LEFT JOIN sessions s ON s.id = CAST(:session_id AS uuid) AND s.user_id = u.id
    WHERE u.id = :user_id
""")

_USE = text("""
    UPDATE refresh_tokens t SET used_at = clock_timestamp()
    FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE t.token_hash = :token_hash AND t.used_at IS NULL AND t.expires_at > clock_timestamp()
      AND s.id = t.session_id AND s.ended_at IS NULL AND s.expires_at > clock_timestamp() AND u.enabled
    RETURNING s.id AS session_id, s.expires_at, u.id, u.username, u.role, u.enabled, u.created_at
""")

_USED = text("""
    SELECT s.id AS session_id, s.expires_at, u.id, u.username, u.role, u.enabled, u.created_at,
           s.ended_at IS NULL AND t.used_at IS NOT NULL AS betrayed,
           t.used_at > clock_timestamp() - CAST(:lost_within AS interval) AND n.used_at IS NULL
               AND s.expires_at > clock_timestamp() AND u.enabled AS repeatable,
           n.token_hash AS successor, n.expires_at AS successor_expires_at
    FROM refresh_tokens t
    JOIN sessions s ON s.id = t.session_id
    JOIN users u ON u.id = s.user_id
    LEFT JOIN refresh_tokens n ON n.parent_hash = t.token_hash
    WHERE t.token_hash = :token_hash
""")

_LIVE = text("""
    SELECT s.id, s.address, s.agent, s.began_at, s.refreshed_at, s.expires_at, s.proven_at, s.proven_by
    FROM sessions s
    WHERE s.user_id = :user_id AND s.ended_at IS NULL AND s.expires_at > clock_timestamp()
      AND EXISTS (SELECT FROM refresh_tokens t
                  WHERE t.session_id = s.id AND t.used_at IS NULL AND t.expires_at > clock_timestamp())
    ORDER BY s.refreshed_at DESC, s.id
""")


class Proof(StrEnum):
    """By what somebody proved who they are."""

    PASSWORD = "password"  # noqa: S105 - the kind of proof, not one
    TOTP = "totp"
    WEBAUTHN = "webauthn"
    RECOVERY = "recovery"


class EndCause(StrEnum):
    LOGOUT = "logout"
    ENDED = "ended"
    REUSE = "reuse"
    PASSWORD = "password"  # noqa: S105 - what was changed, not to what
    FACTORS = "factors"
    DISABLED = "disabled"


@dataclass(frozen=True, kw_only=True)
class Credential:
    """What came with a request: the token's session and the hash of its id, or the key that signed it."""

    session_id: UUID | None = None
    token_hash: str | None = None
    key_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Bearer:
    """The user of a credential as the books have them now, and what the session knows of them, if it has one."""

    user: User
    let_in: bool
    proven_at: datetime | None
    proven_by: Proof | None
    proven_lately: bool
    has_factor: bool


@dataclass(frozen=True, kw_only=True)
class NewSession:
    id: UUID
    user_id: UUID
    address: str
    agent: str
    proven_by: Proof
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """A refresh token that came back, and what may replace it; all of them by their hashes.

    The first of `successors` is the one to issue, the others are what former keys would have made of it.
    """

    token_hash: str
    successors: tuple[str, ...]
    lasts: timedelta


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """The session goes on with this successor, which a repeat gets as well."""

    session_id: UUID
    user: User
    successor: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Betrayed:
    """The token was used before, by its owner or by a thief; its session is over."""

    session_id: UUID
    user: User


@dataclass(frozen=True, kw_only=True)
class Refused:
    """No token of a session that goes on."""


async def read_bearer(connection: AsyncConnection, user_id: UUID, credential: Credential) -> Bearer | None:
    """None if there is no such user."""
    asked = {
        "user_id": user_id,
        "session_id": credential.session_id,
        "token_hash": credential.token_hash,
        "key_id": credential.key_id,
        "lately": PROOF_LASTS,
    }
    row = (await connection.execute(_BEARER, asked)).mappings().one_or_none()
    if row is None:
        return None
    return Bearer(
        user=user_of(row),
        let_in=row["let_in"],
        proven_at=row["proven_at"],
        proven_by=None if row["proven_by"] is None else Proof(row["proven_by"]),
        proven_lately=row["proven_lately"],
        has_factor=row["has_factor"],
    )


async def begin_session(
    connection: AsyncConnection, new: NewSession, *, token_hash: str, lasts: timedelta
) -> None:
    await connection.execute(insert(sessions).values(vars(new)))
    await _issue(connection, new.id, token_hash=token_hash, parent_hash=None, lasts=lasts)
    detail = {"session": new.id, "address": new.address, "agent": new.agent, "proven_by": new.proven_by}
    await _record(connection, "session.began", user_id=new.user_id, actor=f"user:{new.user_id}", detail=detail)


async def renew(connection: AsyncConnection, refresh: Refresh) -> Renewed | Betrayed | Refused:
    """Use a refresh token; the transaction has to be committed whatever comes back."""
    row = (await connection.execute(_USE, {"token_hash": refresh.token_hash})).mappings().one_or_none()
    if row is None:
        return await _again(connection, refresh)
    session_id = row["session_id"]
    await connection.execute(
        update(sessions).where(sessions.c.id == session_id).values(refreshed_at=func.clock_timestamp())
    )
    expires_at = await _issue(
        connection,
        session_id,
        token_hash=refresh.successors[0],
        parent_hash=refresh.token_hash,
        lasts=refresh.lasts,
    )
    return Renewed(
        session_id=session_id, user=user_of(row), successor=refresh.successors[0], expires_at=expires_at
    )


async def _again(connection: AsyncConnection, refresh: Refresh) -> Renewed | Betrayed | Refused:
    asked = {"token_hash": refresh.token_hash, "lost_within": ANSWER_LOST_WITHIN}
    row = (await connection.execute(_USED, asked)).mappings().one_or_none()
    if row is None or not row["betrayed"]:
        return Refused()
    user, session_id = user_of(row), row["session_id"]
    if row["repeatable"] and row["successor"] in refresh.successors:
        return Renewed(
            session_id=session_id,
            user=user,
            successor=row["successor"],
            expires_at=row["successor_expires_at"],
        )
    await end_session(connection, user.id, session_id, cause=EndCause.REUSE, actor="system:api")
    await raise_alert(
        connection,
        "refresh_token_reused",
        key=f"refresh_token_reused:{session_id}",
        severity="critical",
        summary=f"a refresh token of {user.username} came twice; session {session_id} was ended",
        account_id=None,
        trade_id=None,
    )
    return Betrayed(session_id=session_id, user=user)


async def list_sessions(connection: AsyncConnection, user_id: UUID) -> list[dict[str, Any]]:
    """The user's sessions that go on, the last used first."""
    return [dict(row) for row in (await connection.execute(_LIVE, {"user_id": user_id})).mappings()]


async def end_session(
    connection: AsyncConnection, user_id: UUID, session_id: UUID, *, cause: EndCause, actor: str
) -> bool:
    """End one of the user's sessions; False if it is not theirs or was over."""
    return bool(await _end(connection, user_id, cause=cause, actor=actor, only=session_id))


async def end_sessions(
    connection: AsyncConnection, user_id: UUID, *, cause: EndCause, actor: str, but: UUID | None = None
) -> int:
    """End all sessions of the user, but one if it is named; returns how many it ended."""
    return len(await _end(connection, user_id, cause=cause, actor=actor, but=but))


async def _end(
    connection: AsyncConnection,
    user_id: UUID,
    *,
    cause: EndCause,
    actor: str,
    only: UUID | None = None,
    but: UUID | None = None,
) -> list[UUID]:
    these = [sessions.c.user_id == user_id, sessions.c.ended_at.is_(None)]
    these += [sessions.c.id == only] if only is not None else []
    these += [sessions.c.id != but] if but is not None else []
    ended = await connection.scalars(
        update(sessions)
        .where(*these)
        .values(ended_at=func.clock_timestamp(), end_cause=cause)
        .returning(sessions.c.id)
    )
    found = list(ended)
    if found:
        detail = {"sessions": found, "cause": cause}
        await _record(connection, "session.ended", user_id=user_id, actor=actor, detail=detail)
    return found


async def prove(connection: AsyncConnection, user_id: UUID, session_id: UUID, *, by: Proof) -> datetime:
    """Note that the session's user has just proven who they are; returns when."""
    proven = await connection.execute(
        update(sessions)
        .where(sessions.c.id == session_id, sessions.c.user_id == user_id, sessions.c.ended_at.is_(None))
        .values(proven_at=func.clock_timestamp(), proven_by=by)
        .returning(sessions.c.proven_at)
    )
    proven_at: datetime = proven.scalar_one()
    detail = {"session": session_id, "proven_by": by}
    await _record(connection, "session.proven", user_id=user_id, actor=f"user:{user_id}", detail=detail)
    return proven_at


async def revoke_token(
    connection: AsyncConnection, user_id: UUID, *, token_hash: str, expires_at: datetime
) -> None:
    """Take an access token back before its time; what has expired meanwhile is forgotten."""
    await connection.execute(delete(revoked_tokens).where(revoked_tokens.c.expires_at < func.clock_timestamp()))
    await connection.execute(
        pg_insert(revoked_tokens)
        .values(token_hash=token_hash, user_id=user_id, expires_at=expires_at)
        .on_conflict_do_nothing()
    )


async def _issue(
    connection: AsyncConnection, session_id: UUID, *, token_hash: str, parent_hash: str | None, lasts: timedelta
) -> datetime:
    ends = select(sessions.c.expires_at).where(sessions.c.id == session_id).scalar_subquery()
    issued = await connection.execute(
        insert(refresh_tokens)
        .values(
            token_hash=token_hash,
            session_id=session_id,
            parent_hash=parent_hash,
            expires_at=func.least(func.clock_timestamp() + lasts, ends),
        )
        .returning(refresh_tokens.c.expires_at)
    )
    expires_at: datetime = issued.scalar_one()
    return expires_at


async def _record(
    connection: AsyncConnection, action: str, *, user_id: UUID, actor: str, detail: dict[str, Any]
) -> None:
    await record(connection, action, actor=actor, subject=f"user:{user_id}", detail=detail, user_id=user_id)
