"""Users: who they are, what they may do, and whether they may at all. Each change writes its audit row."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import record
from db.tables import users


class Role(StrEnum):
    VIEWER = "viewer"
    TRADER = "trader"
    RISK = "risk"
    ADMIN = "admin"

    @property
    def sees_all(self) -> bool:
        return self in {Role.RISK, Role.ADMIN}


@dataclass(frozen=True, kw_only=True)
class User:
    id: UUID
    username: str
    role: Role
    enabled: bool
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewUser:
    id: UUID
    username: str
    password_hash: str
    role: Role


async def add_user(connection: AsyncConnection, new: NewUser, *, actor: str) -> bool:
    """Add an enabled user; False, and nothing changed, if the name is taken."""
    added = await connection.execute(
        insert(users)
        .values(id=new.id, username=new.username, password_hash=new.password_hash, role=new.role)
        .on_conflict_do_nothing(index_elements=[users.c.username])
        .returning(users.c.id)
    )
    if added.one_or_none() is None:
        return False
    await _record(connection, new.id, "user.added", {"username": new.username, "role": new.role}, actor=actor)
    return True


async def get_user(connection: AsyncConnection, user_id: UUID) -> User | None:
    row = (await connection.execute(select(users).where(users.c.id == user_id))).mappings().one_or_none()
    return None if row is None else user_of(row)


async def find_credentials(connection: AsyncConnection, username: str) -> tuple[User, str] | None:
    """The user of that name with the hash of the password, None if there is none."""
    row = (await connection.execute(select(users).where(users.c.username == username))).mappings().one_or_none()
    return None if row is None else (user_of(row), row["password_hash"])


async def list_users(connection: AsyncConnection) -> tuple[User, ...]:
    rows = await connection.execute(select(users).order_by(users.c.username))
    return tuple(user_of(row) for row in rows.mappings())


async def set_password_hash(connection: AsyncConnection, user_id: UUID, password_hash: str, *, actor: str) -> bool:
    """Set another password; False if there is no such user. Their sessions are for the caller to end."""
    return await _change(
        connection, user_id, {"password_hash": password_hash}, action="user.password_set", actor=actor
    )


async def rehash(connection: AsyncConnection, user_id: UUID, *, old: str, new: str) -> None:
    """Keep the same password by another hash, unless it was changed meanwhile."""
    await connection.execute(
        update(users).where(users.c.id == user_id, users.c.password_hash == old).values(password_hash=new)
    )


async def set_enabled(connection: AsyncConnection, user_id: UUID, *, enabled: bool, actor: str) -> bool:
    """Let a user in or shut them out from their next request on; False if there is no such user."""
    action = "user.enabled" if enabled else "user.disabled"
    return await _change(connection, user_id, {"enabled": enabled}, action=action, actor=actor)


async def _change(
    connection: AsyncConnection,
    user_id: UUID,
    values: dict[str, Any],
    *,
    action: str,
    actor: str,
) -> bool:
    changed = await connection.execute(
        update(users).where(users.c.id == user_id).values(values).returning(users.c.id)
    )
    if changed.one_or_none() is None:
        return False
    await _record(connection, user_id, action, {}, actor=actor)
    return True


async def _record(
    connection: AsyncConnection, user_id: UUID, action: str, detail: dict[str, Any], *, actor: str
) -> None:
    await record(connection, action, actor=actor, subject=f"user:{user_id}", detail=detail, user_id=user_id)


def user_of(row: RowMapping) -> User:
    return User(
        id=row["id"],
        username=row["username"],
        role=Role(row["role"]),
        enabled=row["enabled"],
        created_at=row["created_at"],
    )
