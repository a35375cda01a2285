"""How often a caller may ask: by user or API key, and by address where nobody is known yet.

1. What makes trading calmer (cancel, close, stop) has a bucket of its own: no other traffic empties it.
2. A store that cannot be reached holds nobody up, and is not asked again for a second. The limits protect from
   load, not money: the gates of an order, which do, count in the books for themselves.
3. All processes count together. A window opens with its first request and closes after its time.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from fastapi import Request
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError

from api.addresses import address_of
from api.errors import Problem, Retry
from api.rate_stores import RateStore
from api.rights import NEVER_HELD_UP, Right
from db.login_tries import network_of
from settings import Bucket, Rate

_READING = frozenset({Right.READ, Right.PREVIEW, Right.AUDIT})

_PATIENCE_SECONDS = 1.0
# Of a stop, no second is spent on finding out that a store hangs.
_PATIENCE_OF_STOPS_SECONDS = 0.1
_LEFT_ALONE_SECONDS = 1.0

_log = logging.getLogger("api")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a caller stands in a bucket, with the request that was just counted."""

    bucket: Bucket
    limit: Rate
    count: int
    left_seconds: int

    @property
    def exceeded(self) -> bool:
        return self.count > self.limit.amount

    @property
    def headers(self) -> dict[str, str]:
        """As structured fields, in the form of draft-ietf-httpapi-ratelimit-headers-11."""
        remaining = max(0, self.limit.amount - self.count)
        return {
            "RateLimit-Policy": f'"{self.bucket}";q={self.limit.amount};w={self.limit.seconds}',
            "RateLimit": f'"{self.bucket}";r={remaining};t={self.left_seconds}',
        }


class Rates:
    def __init__(self, limits: Mapping[Bucket, Rate | None], store: RateStore) -> None:
        """A bucket whose limit is None is off."""
        self._limits = limits
        self._store = store
        self._left_alone_until = 0.0

    async def take(self, bucket: Bucket, caller: str) -> Standing | None:
        """Count a request; None if the bucket is off, or nobody can count now."""
        limit, loop = self._limits[bucket], asyncio.get_running_loop()
        if limit is None or loop.time() < self._left_alone_until:
            return None
        patience = _PATIENCE_OF_STOPS_SECONDS if bucket is Bucket.STOPS else _PATIENCE_SECONDS
        try:
            async with asyncio.timeout(patience):
                counted = await self._store.take(_item(limit).key_for(bucket, caller), limit.seconds)
        except (StorageError, TimeoutError, OSError) as error:
            # A tenth of a second may be a busy moment; that alone is no reason to let orders pass uncounted.
            if bucket is not Bucket.STOPS:
                self._left_alone_until = loop.time() + _LEFT_ALONE_SECONDS
            _log.warning("rate limits are not counted, so that the request passes: %r", error)
            return None
        left = ceil(counted.left.total_seconds())
        return Standing(bucket=bucket, limit=limit, count=counted.count, left_seconds=max(0, left))


def _item(limit: Rate) -> RateLimitItem:
    return RateLimitItemPerSecond(limit.amount, limit.seconds)


def bucket_of(right: Right) -> Bucket:
    if right in NEVER_HELD_UP:
        return Bucket.STOPS
    if right is Right.TRADE:
        return Bucket.ORDERS
    return Bucket.READS if right in _READING else Bucket.OTHERS


async def hold_to_rate(
    request: Request, rates: Rates, bucket: Bucket, caller: str, *, refuses: bool = True
) -> None:
    """Count the request, note where the caller stands for its answer, and raise the problem of one too many.

    A stop is counted, and never one too many.
    """
    standing = await rates.take(bucket, caller)
    if standing is None:
        return
    request.state.headers = standing.headers
    if standing.exceeded and refuses:
        allowed, wait = standing.limit, max(1, standing.left_seconds)
        raise Problem(
            429,
            "rate_limited",
            f"more than {allowed.amount} requests of {bucket} in {allowed.seconds} s; wait {wait} s",
            retry=Retry.AFTER,
            headers={"Retry-After": str(wait)},
        )


async def hold_logins_to_rate(request: Request) -> None:
    """By the address, or the network of an IPv6 one: nobody has said yet who they are."""
    address = network_of(address_of(request))
    await hold_to_rate(request, request.app.state.connections.rates, Bucket.LOGINS, f"address:{address}")
