"""The number that an order of ours carries at the broker: MetaTrader calls it the magic."""

import hashlib
from uuid import UUID

MAGIC_MIN = 1_000_000_001
# MetaTrader's numbers are signed, and other tools read them as floats, which are exact up to 53 bits.
MAGIC_BITS = 52


def magic_of(trade_id: UUID, *, salt: int = 0) -> int:
    """The number of a trade's order at the broker: the same for the same trade, whatever the books remember.

    `salt` makes another one, for the odd chance that two trades of an account share a number.
    """
    digest = hashlib.sha256(trade_id.bytes + salt.to_bytes(2)).digest()
    return MAGIC_MIN + (int.from_bytes(digest[:8]) >> (64 - MAGIC_BITS))


def is_ours(magic: int) -> bool:
    """Whether the number is one that a trade of ours may have."""
    return MAGIC_MIN <= magic < MAGIC_MIN + (1 << MAGIC_BITS)
