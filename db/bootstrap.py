"""The database and its roles, made by a superuser before the first migration."""

import re

import asyncpg

ROLES = ("nexus_owner", "nexus_api", "nexus_pipeline", "nexus_broker", "nexus_sealer")
_PASSWORD = re.compile(r"[A-Za-z0-9_-]{16,128}")


async def ensure_database(admin_url: str, *, database: str, passwords: dict[str, str]) -> None:
    """Make each role with its password and the database owned by `nexus_owner`; repeats change nothing else.

    `passwords` has one entry per role of `ROLES`, of 16 or more URL-safe characters, since PostgreSQL takes no
    parameters in role statements.
    """
    connection = await asyncpg.connect(admin_url)
    try:
        for role in ROLES:
            password = passwords[role]
            if not _PASSWORD.fullmatch(password):
                raise ValueError(f"the password of {role} must be 16 to 128 characters of A-Z a-z 0-9 _ -")
            known = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
            verb = "ALTER" if known else "CREATE"
            await connection.execute(
                f"{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{password}'"
            )
        quoted = '"' + database.replace('"', '""') + '"'
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
            await connection.execute(f"CREATE DATABASE {quoted} OWNER nexus_owner")
        await _open_to_roles(connection, quoted)
    finally:
        await connection.close()


async def clone_database(admin_url: str, *, template: str, database: str) -> None:
    """Copy a migrated database that nobody is connected to; rights on it are not copied, so given anew."""
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}" OWNER nexus_owner')
        await _open_to_roles(connection, f'"{database}"')
    finally:
        await connection.close()


async def _open_to_roles(connection: asyncpg.Connection, quoted: str) -> None:
    await connection.execute(f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC")
    for role in ROLES:
        await connection.execute(f"GRANT CONNECT ON DATABASE {quoted} TO {role}")
