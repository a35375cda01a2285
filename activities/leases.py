"""Holding an account's lease: one sender serves it, and stops by itself when it no longer may."""

import asyncio
import os
import socket
from datetime import timedelta
from pathlib import Path

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from db import accounts
from db.accounts import Account, Lease, LeaseHeld
from domain.errors import LeaseLost


async def take(
    engine: AsyncEngine, slug: str, *, terminal: str, ttl: timedelta, grace: timedelta
) -> tuple[Account, Lease]:
    """Take the account's lease; raises LeaseLost, naming the holder, while somebody else may still send."""
    here = f"{socket.gethostname()}:{terminal}"
    async with engine.begin() as connection:
        account = await accounts.read_account(connection, slug)
        holder = await accounts.read_lease_holder(connection, slug)
        if holder is not None and _lives(holder):
            raise LeaseLost(f"account {slug} is served by process {holder} already; stop it first")
        lease = await accounts.take_lease(connection, slug, holder=_myself(), terminal=here, ttl=ttl, grace=grace)
    if isinstance(lease, LeaseHeld):
        raise LeaseLost(f"account {slug} is leased to {lease.holder} until {lease.free_at:%H:%M:%S} UTC")
    return account, lease


async def keep(engine: AsyncEngine, lease: Lease, *, ttl: timedelta) -> None:
    """Renew the lease until cancelled; raises LeaseLost once it is taken over or could not be renewed in time.

    While the database is away no claim can be made either, so waiting for it is safe.
    """
    while True:
        await asyncio.sleep(ttl.total_seconds() / 3)
        try:
            async with engine.begin() as connection:
                await accounts.renew_lease(connection, lease, ttl=ttl)
        except (DBAPIError, OSError, PoolTimeout):
            continue


def _myself() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _lives(holder: str) -> bool:
    """Whether the holder is a process of this machine that runs; the start time tells a reused number apart."""
    host, pid, started = holder.rsplit(":", 2)
    return host == socket.gethostname() and started != "" and _started(int(pid)) == started


def _started(pid: int) -> str:
    """When the kernel started a process, empty if it is gone (or on systems that do not say)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    zombie = fields[0] == "Z"
    return "" if zombie else fields[19]
