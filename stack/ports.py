"""Refusing to start on ports that somebody else holds, before anything has been started."""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from stack.errors import StackError


@dataclass(frozen=True, kw_only=True)
class PortClaim:
    """A port, what wants it, and how to choose another."""

    port: int
    wanted_by: str
    flag: str
    variable: str


async def claim_ports(claims: Sequence[PortClaim], *, wait_seconds: float) -> None:
    """Raise StackError naming the first port that is claimed twice or still taken after the wait.

    The wait is for the children of a killed stack, which end a moment after it.
    """
    claimed: dict[int, PortClaim] = {}
    for claim in claims:
        if claim.port in claimed:
            raise StackError(
                f"port {claim.port} is meant for both {claimed[claim.port].wanted_by} and {claim.wanted_by}; "
                f"change one with {claim.flag} or {claim.variable}"
            )
        claimed[claim.port] = claim
    deadline = time.monotonic() + wait_seconds
    for claim in claims:
        while is_taken(claim.port):
            if time.monotonic() >= deadline:
                raise StackError(
                    f"port {claim.port} is taken, and {claim.wanted_by} wants it; "
                    f"free it or choose another with {claim.flag} or {claim.variable}"
                )
            await asyncio.sleep(0.1)


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, so that connections of a server that just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return True
    return False
