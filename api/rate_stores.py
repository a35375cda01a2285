"""Where the rate limits count: PostgreSQL, so that all processes of the API count together, or Redis."""

import time
from datetime import timedelta

import asyncpg
from limits.aio.storage import RedisStorage, Storage
from limits.errors import StorageError
from limits.storage import storage_from_string
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from db import rate_counts
from db.engine import make_engine
from db.rate_counts import Counted

# A store that counts on its own connections never waits for those that orders and stops are read on.
_CONNECTIONS = 4
_SWEPT_EVERY_SECONDS = 60.0

# What a connection raises that cannot be made, or not in time: not all of it comes wrapped.
_AWAY = (SQLAlchemyError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class PostgresStorage(Storage):
    """The storage of the library `limits` in PostgreSQL, for its fixed windows."""

    STORAGE_SCHEME = ["async+postgresql+asyncpg"]  # noqa: RUF012 - as the library declares it

    def __init__(self, uri: str, wrap_exceptions: bool = False, **_: float | str | bool) -> None:  # noqa: FBT001, FBT002
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        engine = make_engine(uri.removeprefix("async+"), application="api-rates", pool_size=_CONNECTIONS)
        self.engine: AsyncEngine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._swept_at = time.monotonic()

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return _AWAY

    async def take(self, key: str, expiry: int, amount: int = 1) -> Counted:
        """Count, and say how long the window goes on, in the one statement. Raises StorageError."""
        try:
            async with self.engine.connect() as connection:
                counted = await rate_counts.count(connection, key, lasts=timedelta(seconds=expiry), amount=amount)
                if time.monotonic() - self._swept_at > _SWEPT_EVERY_SECONDS:
                    self._swept_at = time.monotonic()
                    await rate_counts.forget_past(connection)
                return counted
        except _AWAY as error:
            raise StorageError(error) from error

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return (await self.take(key, expiry, amount)).count

    async def get(self, key: str) -> int:
        async with self.engine.connect() as connection:
            return (await rate_counts.read(connection, key)).count

    async def get_expiry(self, key: str) -> float:
        async with self.engine.connect() as connection:
            return time.time() + (await rate_counts.read(connection, key)).left.total_seconds()

    async def check(self) -> bool:
        try:
            await self.get("")
        except StorageError:
            return False
        return True

    async def reset(self) -> int | None:
        async with self.engine.connect() as connection:
            return await rate_counts.forget_all(connection)

    async def clear(self, key: str) -> None:
        async with self.engine.connect() as connection:
            await rate_counts.forget(connection, key)

    async def close(self) -> None:
        await self.engine.dispose()


class RedisCounts(RedisStorage):
    """The library's storage in Redis, which says with each count how long the window goes on."""

    async def take(self, key: str, expiry: int, amount: int = 1) -> Counted:
        count = await self.incr(key, expiry, amount)
        try:
            left = await self._redis.pttl(self.bridge.prefixed_key(key))
        except RedisError as error:
            raise StorageError(error) from error
        return Counted(count=count, left=timedelta(milliseconds=max(0, left)))

    async def close(self) -> None:
        await self._redis.aclose()

    @property
    def _redis(self) -> Redis:
        connection: Redis = self.bridge.get_connection()  # type: ignore[attr-defined]
        return connection


RateStore = PostgresStorage | RedisCounts


def open_store(*, database_url: str, redis_url: str | None) -> RateStore:
    """Without waiting for it: it is reached when something is counted."""
    if redis_url is not None:
        return RedisCounts(f"async+{redis_url}", wrap_exceptions=True, implementation="redispy")
    store = storage_from_string(f"async+{database_url}", wrap_exceptions=True)
    assert isinstance(store, PostgresStorage), "the URL of the books names PostgreSQL"
    return store
