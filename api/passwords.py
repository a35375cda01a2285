"""Password hashes: Argon2id, slow on purpose, so in a pool of their own that bounds their memory."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

T = TypeVar("T")

PASSWORD_LENGTH_MAX = 1024
# 64 MiB each: two at once are enough for people and bounded for attackers.
_AT_ONCE = 2
_WAITING_MAX = 32
# How much the newest check says of how long one takes.
_NEWEST_SHARE = 0.2


class PasswordsBusy(Exception):
    """So many logins wait already that one more would only wait longer."""


class Passwords:
    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1, type=Type.ID)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
        self._waiting = 0
        # A login for a user who does not exist is checked against this, so that it takes the same time.
        begun = time.perf_counter()
        self._nobody = self._hasher.hash("nobody has this password")
        self._usual_seconds = time.perf_counter() - begun

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is that of the hash; None takes as long and is never matched.

        Raises PasswordsBusy.
        """
        begun = time.perf_counter()
        matched = await self._in_turn(partial(self._verify, password_hash or self._nobody, password))
        self._usual_seconds += _NEWEST_SHARE * (time.perf_counter() - begun - self._usual_seconds)
        return matched and password_hash is not None

    async def pretend(self) -> None:
        """Take the time of a check and check nothing, so that a refusal without one looks like any other."""
        await asyncio.sleep(self._usual_seconds)

    async def hashed(self, password: str) -> str:
        """The hash of a new password. Raises PasswordsBusy."""
        return await self._in_turn(partial(self.hash, password))

    def outdated(self, password_hash: str) -> bool:
        """Whether the hash was made at another cost than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= _WAITING_MAX:
            raise PasswordsBusy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
