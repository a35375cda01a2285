"""The chain that audit rows are sealed into: what a row, a batch of rows and the whole before them hash to.

1. A row is hashed as the text that it is exported as, byte for byte.
2. Each row's link covers the row and the link before it; so no row changes, leaves or moves without its link.
3. The rows of one seal are the leaves of a Merkle tree (RFC 9162), so that one row is proven without the others.
4. Each seal's digest covers the seal and the digest before it; who signs a digest vouches for all before it.

The first byte of what is hashed says what it is, so that none of these can stand for another.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

_LEAF, _NODE, _LINK, _SEAL = b"\x00", b"\x01", b"\x02", b"\x03"

# What the first link and the first seal have before them.
ORIGIN = sha256(b"audit chain, format 1").digest()


@dataclass(frozen=True, kw_only=True)
class Seal:
    """One batch: the rows `first_seq` to `last_seq`, which are all that transactions before `horizon` wrote."""

    number: int
    first_seq: int
    last_seq: int
    horizon: int
    root: bytes
    head: bytes

    def digest(self, previous: bytes) -> bytes:
        place = struct.pack(">4Q", self.number, self.first_seq, self.last_seq, self.horizon)
        return sha256(_SEAL + previous + place + self.root + self.head).digest()


class FaultKind(StrEnum):
    ROW_ALTERED = "row_altered"
    ROW_DELETED = "row_deleted"
    ROW_INSERTED = "row_inserted"
    ROW_REORDERED = "row_reordered"
    LINK_ALTERED = "link_altered"
    LINK_MISSING = "link_missing"
    SEAL_ALTERED = "seal_altered"
    SEAL_MISSING = "seal_missing"
    TAIL_CUT = "tail_cut"
    ANCHOR_FORGED = "anchor_forged"
    TABLE_REPLACED = "table_replaced"
    CHECK_FAILED = "check_failed"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Where the record is not what it was: `seq` and `audit_id` name the first bad row, where there is one."""

    kind: FaultKind
    message: str
    seal_number: int
    seq: int | None = None
    audit_id: int | None = None


def leaf(text: bytes) -> bytes:
    return sha256(_LEAF + text).digest()


def link(previous: bytes, leaf_hash: bytes) -> bytes:
    return sha256(_LINK + previous + leaf_hash).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over one or more leaf hashes, as RFC 9162 §2.1.1 has it."""
    assert leaves, "a seal has rows"
    level = list(leaves)
    while len(level) > 1:
        paired = [_node(*level[place : place + 2]) for place in range(0, len(level) - 1, 2)]
        # An odd one goes up as it is, which is where RFC 9162 splits: at the largest power of two.
        level = paired + level[len(paired) * 2 :]
    return level[0]


def merkle_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """What has to be hashed with leaf `index`, from the bottom up, to come to the root."""
    path, level = [], list(leaves)
    while len(level) > 1:
        if (beside := index ^ 1) < len(level):
            path.append(level[beside])
        paired = [_node(*level[place : place + 2]) for place in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
        index //= 2
    return tuple(path)


def root_by_path(leaf_hash: bytes, *, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that the path leads to; None if it is not one of leaf `index` of `size`."""
    found, left = leaf_hash, list(path)
    while size > 1:
        if index ^ 1 < size:
            if not left:
                return None
            beside = left.pop(0)
            found = _node(found, beside) if index % 2 == 0 else _node(beside, found)
        index, size = index // 2, (size + 1) // 2
    return None if left else found


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()
