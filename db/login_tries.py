"""Tries to log in: counted before a password is looked at, so that guesses in parallel are guesses all the same.

1. Name and address are asked in one statement, whose row locks put the tries of both in order.
2. Some tries are free. From then on each one that is let in closes the door for longer, up to 15 minutes.
3. A try at a closed door looks at nothing and lengthens nothing; the right password is refused there as well.
4. Where a user has logged in lately, their name is counted apart: a stranger cannot shut them out of their desk.
5. A closed door is that of the login alone: whoever is logged in stops, cancels and closes as before.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import raise_alert, record
from db.tables import login_tries

FREE_BY_NAME = 5
# Behind one address there may be a whole desk.
FREE_BY_ADDRESS = 20
FIRST_DELAY_SECONDS = 30
LONGEST_DELAY_SECONDS = 900

# Whoever tries from a network of IPv6 has all its addresses.
_IPV6_NETWORK_BITS = 64

_TRY = text("""
    WITH at AS (SELECT clock_timestamp() AS now), here AS (
        INSERT INTO login_tries AS t (key, count, tried_at, open_at, admitted)
        SELECT :address_key, 1, now, now, true FROM at
        ON CONFLICT (key) DO UPDATE SET
            (count, tried_at, open_at, admitted, refused_count)
                = (SELECT * FROM next_try(t, excluded.tried_at, :free_by_address, :first_delay, :longest_delay))
        RETURNING t.admitted
    ), named AS (
        INSERT INTO login_tries AS t (key, count, tried_at, open_at, admitted)
        SELECT CASE WHEN EXISTS (
                   SELECT FROM sessions s JOIN users u ON u.id = s.user_id
                   WHERE u.username = :username AND s.address = :address
                     AND s.began_at > at.now - interval '30 days')
               THEN :name_key || '@' || :address ELSE :name_key END, 1, at.now, at.now, true
        FROM here, at WHERE here.admitted
        ON CONFLICT (key) DO UPDATE SET
            (count, tried_at, open_at, admitted, refused_count)
                = (SELECT * FROM next_try(t, excluded.tried_at, :free_by_name, :first_delay, :longest_delay))
        RETURNING t.key, t.count, t.tried_at, t.admitted
    )
    SELECT key, count, tried_at, admitted FROM named
""")


@dataclass(frozen=True, kw_only=True)
class Try:
    """A try that may look at the password; `count` says how many there were by this name since one succeeded."""

    name_key: str
    address_key: str
    count: int
    at: datetime


async def admit(connection: AsyncConnection, *, username: str, address: str) -> Try | None:
    """Count a try to log in; None if the name or the address has to wait."""
    name_key = _name_key(username)
    address_key = f"address:{network_of(address)}"
    asked: dict[str, Any] = {
        "username": username,
        "address": address,
        "name_key": name_key,
        "address_key": address_key,
        "free_by_name": FREE_BY_NAME,
        "free_by_address": FREE_BY_ADDRESS,
        "first_delay": FIRST_DELAY_SECONDS,
        "longest_delay": LONGEST_DELAY_SECONDS,
    }
    row = (await connection.execute(_TRY, asked)).mappings().one_or_none()
    if row is None or not row["admitted"]:
        return None
    return Try(name_key=row["key"], address_key=address_key, count=row["count"], at=row["tried_at"])


async def failed(connection: AsyncConnection, this: Try, *, username: str, known: bool, address: str) -> None:
    """Record a try that failed; the name is kept only if it is a user's, since others may be typed passwords."""
    detail = {"username": username if known else None, "address": address, "count": this.count}
    await record(connection, "login.failed", actor="anonymous", subject=this.name_key, detail=detail)
    if this.count == FREE_BY_NAME and known:
        await raise_alert(
            connection,
            "login_lockout",
            key=f"login_lockout:{this.name_key}:{this.at.isoformat()}",
            severity="warning",
            summary=f"{this.count} logins of {username} failed, the last from {address}; the next wait",
            account_id=None,
            trade_id=None,
        )


async def half_succeeded(connection: AsyncConnection, this: Try) -> None:
    """Take back what was counted to the address: the password was right, and only the second factor is awaited."""
    tries = login_tries.c
    await connection.execute(
        update(login_tries).where(tries.key == this.address_key).values(count=func.greatest(tries.count - 1, 0))
    )


async def succeeded(connection: AsyncConnection, this: Try) -> None:
    """Forget the tries by this name, and take back what was counted to the address."""
    tries = login_tries.c
    await half_succeeded(connection, this)
    await connection.execute(delete(login_tries).where(tries.key == this.name_key))
    day_ago = func.clock_timestamp() - text("interval '1 day'")
    await connection.execute(delete(login_tries).where(tries.tried_at < day_ago, tries.open_at < func.now()))


async def open_door(connection: AsyncConnection, user_id: UUID, *, username: str, actor: str) -> None:
    """Forget every try by this name, wherever it came from."""
    key = _name_key(username)
    at_home = login_tries.c.key.startswith(f"{key}@")
    await connection.execute(delete(login_tries).where((login_tries.c.key == key) | at_home))
    await record(connection, "login.unlocked", actor=actor, subject=f"user:{user_id}", detail={}, user_id=user_id)


def _name_key(username: str) -> str:
    return "name:" + sha256(username.encode()).hexdigest()


def network_of(address: str) -> str:
    """What is counted as one address: itself, or the network of an IPv6 one."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    shift = 128 - _IPV6_NETWORK_BITS
    return f"{IPv6Address(int(parsed) >> shift << shift)}/{_IPV6_NETWORK_BITS}"
