"""Logins whose password was right, until their second factor comes."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import pending_logins, users
from db.users import User, user_of

LASTS = timedelta(minutes=5)

_open = pending_logins.c.expires_at > func.clock_timestamp()


async def keep(connection: AsyncConnection, user_id: UUID, *, token_hash: str) -> None:
    """Keep a login until its factor comes; those whose time is over go."""
    await connection.execute(delete(pending_logins).where(pending_logins.c.expires_at < func.clock_timestamp()))
    await connection.execute(
        insert(pending_logins).values(
            token_hash=token_hash, user_id=user_id, expires_at=func.clock_timestamp() + LASTS
        )
    )


async def find(connection: AsyncConnection, *, token_hash: str) -> User | None:
    """The user whose login it is; None if there is none, its time is over, or the user may not enter."""
    query = (
        select(users)
        .join(pending_logins, pending_logins.c.user_id == users.c.id)
        .where(pending_logins.c.token_hash == token_hash, _open, users.c.enabled)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else user_of(row)


async def finish(connection: AsyncConnection, *, token_hash: str) -> bool:
    """Take the login, which becomes a session; False if another request took it."""
    taken = await connection.execute(
        delete(pending_logins)
        .where(pending_logins.c.token_hash == token_hash, _open)
        .returning(pending_logins.c.user_id)
    )
    return taken.one_or_none() is not None
