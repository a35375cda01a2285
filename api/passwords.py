"""Password hashes: Argon2id, slow on purpose, so in a pool of their own that bounds their memory."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

PASSWORD_LENGTH_MAX = 1024
# 64 MiB each: two at once are enough for people and bounded for attackers.
_AT_ONCE = 2
_WAITING_MAX = 32


class PasswordsBusy(Exception):
    """So many logins wait already that one more would only wait longer."""


class Passwords:
    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1, type=Type.ID)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
        self._waiting = 0
        # A login for a user who does not exist is checked against this, so that it takes the same time.
        self._nobody = self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is that of the hash; None takes as long and is never matched.

        Raises PasswordsBusy.
        """
        if self._waiting >= _WAITING_MAX:
            raise PasswordsBusy
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            matched = await loop.run_in_executor(self._pool, self._verify, password_hash or self._nobody, password)
        finally:
            self._waiting -= 1
        return matched and password_hash is not None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
