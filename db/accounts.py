"""Broker accounts, and the lease by which exactly one sender serves each."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import RowMapping, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import record
from db.tables import account_users, broker_accounts, users
from domain.errors import AccountNotFound, LeaseLost
from domain.positions import MarginMode


@dataclass(frozen=True, kw_only=True)
class Account:
    id: UUID
    slug: str
    currency: str
    margin_mode: MarginMode
    day_zone: str


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who serves an account: `number` rises with each taker, and the terminal refuses older ones."""

    account_id: UUID
    number: int
    holder: str
    terminal: str
    taken_at: datetime


@dataclass(frozen=True, kw_only=True)
class LeaseHeld:
    """Somebody else holds the lease; it may be taken at `free_at` at the earliest."""

    holder: str
    free_at: datetime


async def read_account(connection: AsyncConnection, slug: str) -> Account:
    row = (
        (await connection.execute(select(broker_accounts).where(broker_accounts.c.slug == slug)))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise AccountNotFound(slug)
    return Account(
        id=row["id"],
        slug=row["slug"],
        currency=row["currency"],
        margin_mode=MarginMode(row["margin_mode"]),
        day_zone=row["day_zone"],
    )


async def list_slugs(connection: AsyncConnection) -> tuple[str, ...]:
    return tuple(await connection.scalars(select(broker_accounts.c.slug).order_by(broker_accounts.c.slug)))


async def slugs_of(connection: AsyncConnection, user_id: UUID | None) -> tuple[str, ...]:
    """The accounts that the user trades on; all of them for None."""
    query = select(broker_accounts.c.slug).order_by(broker_accounts.c.slug)
    if user_id is not None:
        query = query.join(account_users, account_users.c.account_id == broker_accounts.c.id)
        query = query.where(account_users.c.user_id == user_id)
    return tuple(await connection.scalars(query))


async def find_member(connection: AsyncConnection, account_id: UUID, username: str) -> UUID | None:
    """The user of that name, if the account is theirs."""
    return await connection.scalar(
        select(users.c.id)
        .join(account_users, account_users.c.user_id == users.c.id)
        .where(account_users.c.account_id == account_id, users.c.username == username)
    )


async def read_lease_holder(connection: AsyncConnection, slug: str) -> str | None:
    return await connection.scalar(
        select(broker_accounts.c.lease_holder).where(
            broker_accounts.c.slug == slug, broker_accounts.c.lease_expires_at > text("now()")
        )
    )


async def take_lease(
    connection: AsyncConnection, slug: str, *, holder: str, terminal: str, ttl: timedelta, grace: timedelta
) -> Lease | LeaseHeld:
    """Take the lease of an account whose last holder is gone.

    A holder at the same terminal is known to be gone by the caller. One at another terminal is taken over only
    `grace` after its lease ran out: the longest broker call plus the quiet window.
    """
    query = select(broker_accounts, text("clock_timestamp() AS now")).where(broker_accounts.c.slug == slug)
    row: RowMapping = (await connection.execute(query.with_for_update())).mappings().one()
    expires_at = row["lease_expires_at"]
    elsewhere = row["lease_terminal"] not in {None, terminal}
    if elsewhere and expires_at is not None and expires_at + grace > row["now"]:
        return LeaseHeld(holder=row["lease_holder"], free_at=expires_at + grace)
    # From the clock, so that a copy of the books that is put back never repeats a number that a terminal has seen.
    number = max(row["lease_number"] + 1, int(row["now"].timestamp()))
    await connection.execute(
        update(broker_accounts)
        .where(broker_accounts.c.id == row["id"])
        .values(
            lease_number=number,
            lease_holder=holder,
            lease_terminal=terminal,
            lease_taken_at=row["now"],
            lease_expires_at=row["now"] + ttl,
        )
    )
    await record(
        connection,
        "lease.taken",
        actor=f"sender:{holder}",
        subject=f"account:{slug}",
        detail={"number": number, "before": row["lease_holder"]},
        account_id=row["id"],
    )
    return Lease(account_id=row["id"], number=number, holder=holder, terminal=terminal, taken_at=row["now"])


async def renew_lease(connection: AsyncConnection, lease: Lease, *, ttl: timedelta) -> None:
    """Extend the lease; raises LeaseLost if another sender took it."""
    result = await connection.execute(
        update(broker_accounts)
        .where(broker_accounts.c.id == lease.account_id, broker_accounts.c.lease_number == lease.number)
        .values(lease_expires_at=func.clock_timestamp() + ttl)
    )
    if result.rowcount != 1:
        raise LeaseLost(f"lease {lease.number} was taken over")


_CHECK = text("""
    SELECT lease_expires_at > clock_timestamp() FROM broker_accounts
    WHERE id = :account_id AND lease_number = :number FOR SHARE
""")


async def check_lease(connection: AsyncConnection, lease: Lease) -> None:
    """Raise LeaseLost unless the lease is ours and runs; nobody can take it until the transaction ends."""
    if not await connection.scalar(_CHECK, {"account_id": lease.account_id, "number": lease.number}):
        raise LeaseLost(f"lease {lease.number} is no longer ours")
