"""The engine of a process. Connections are taken per unit of work and never kept across one."""

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from version import code_version


def make_engine(database_url: str, *, application: str, pool_size: int = 10) -> AsyncEngine:
    """An engine whose sessions show `application` in pg_stat_activity and give up on locks after seconds.

    What they record in the audit log says so too, and which code wrote it.
    """
    return create_async_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        # Asking each connection first whether it lives costs a round trip per unit of work; one that a restart of
        # PostgreSQL has broken fails the unit instead, which is repeated.
        pool_pre_ping=False,
        connect_args={
            "timeout": 5,
            "command_timeout": 15,
            "server_settings": {
                "application_name": application,
                "nexus.version": code_version(),
                "lock_timeout": "5s",
                "idle_in_transaction_session_timeout": "30s",
                "timezone": "UTC",
                # Nobody who may alter the database or a role puts other tables in place of ours.
                "search_path": "public",
                "jit": "off",
            },
        },
    )
