"""Going over the sealed rows from the first seal on, naming the first that is not what was sealed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.audit import ORIGIN, Fault, FaultKind, Seal, leaf, link, merkle_root

# Whoever rewrote all of it is told of so many rows of each seal; more would say no more.
FAULTS_PER_SEAL = 20


@dataclass(frozen=True, kw_only=True)
class SealedRow:
    """A place in the chain and the row at it; without a text, the row is gone. Rows are sealed in their order."""

    seq: int
    audit_id: int
    hash: bytes
    text: bytes | None
    order: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SealedBatch:
    """A seal, its digest, and its rows; `strangers` are the ids of rows that have no place among them."""

    seal: Seal
    digest: bytes
    rows: Sequence[SealedRow]
    strangers: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """What somebody outside of the database was told at `at`: that the chain had come to this seal."""

    seal_number: int
    last_seq: int
    digest: bytes
    at: datetime


class ChainCheck:
    """A pass over the chain. It begins at the first seal, or behind one that was found good before."""

    def __init__(
        self,
        *,
        anchors: Mapping[int, Anchor] | None = None,
        number: int = 0,
        seq: int = 0,
        head: bytes = ORIGIN,
        digest: bytes = ORIGIN,
    ) -> None:
        self.number = number
        self.seq = seq
        self.head = head
        self.digest = digest
        self._anchors = anchors or {}
        self._order = (0, 0)
        self._horizon = 0
        self._diverged = False

    def check(self, batch: SealedBatch) -> list[Fault]:
        """Go on with the next seal and its rows: its faults, the first bad row first, and at most so many of them.

        Behind a fault it goes on from what the seal says, so that one fault hides no other.
        """
        seal, rows = batch.seal, batch.rows
        found = self._place(seal)
        if not found:
            found = [*self._rows(seal, rows), *_inserted(batch)]
            found += self._seal(batch, rows_fit=not found)
        self.number, self.seq, self.head, self.digest = seal.number, seal.last_seq, seal.head, batch.digest
        self._order = max((row.order for row in rows), default=self._order)
        self._horizon = seal.horizon
        return found[:FAULTS_PER_SEAL]

    def end(self) -> Fault | None:
        """What is missing behind the last seal, by what was anchored elsewhere."""
        cut = [anchor for number, anchor in self._anchors.items() if number > self.number]
        if not cut:
            return None
        last = max(cut, key=lambda anchor: anchor.seal_number)
        return Fault(
            kind=FaultKind.TAIL_CUT,
            message=f"the chain ends with row {self.seq} (seal {self.number}); an anchor says that it had come to "
            f"row {last.last_seq} (seal {last.seal_number}), so rows from {self.seq + 1} on were cut off",
            seal_number=last.seal_number,
            seq=self.seq + 1,
        )

    def _place(self, seal: Seal) -> list[Fault]:
        follows = seal.number == self.number + 1 and seal.first_seq == self.seq + 1
        if follows and seal.last_seq >= seal.first_seq and self._horizon < seal.horizon < 2**63:
            return []
        message = (
            f"after seal {self.number}, which ends with row {self.seq}, comes seal {seal.number} "
            f"of rows {seal.first_seq} to {seal.last_seq}"
        )
        kind = FaultKind.SEAL_MISSING
        return [Fault(kind=kind, message=message, seal_number=self.number + 1, seq=self.seq + 1)]

    def _rows(self, seal: Seal, rows: Sequence[SealedRow]) -> list[Fault]:
        found = []
        hash_before, order_before, seq = self.head, self._order, seal.first_seq
        for row in rows:
            fault = _out_of_place(seal, seq, row) or _unlike(seal, row, rows, hash_before)
            if fault is None and row.order <= order_before:
                fault = _fault(FaultKind.ROW_REORDERED, seal, row, "stands behind one that was written after it")
            if fault is None:
                order_before = row.order
            else:
                found.append(fault)
            hash_before, seq = row.hash, max(seq, row.seq + 1)
        if seq <= seal.last_seq:
            missing = (
                f"seal {seal.number} ends with row {seal.last_seq}, and the chain goes as far as row {seq - 1}"
            )
            found.append(_missing(seal, seq, missing))
        return found

    def _seal(self, batch: SealedBatch, *, rows_fit: bool) -> list[Fault]:
        seal, digest, rows = batch.seal, batch.digest, batch.rows
        rows_told = f"rows {seal.first_seq} to {seal.last_seq}"
        leaves = [leaf(row.text) for row in rows if row.text is not None]
        if rows_fit and (rows[-1].hash != seal.head or merkle_root(leaves) != seal.root):
            told = f"{rows_told} do not come to what seal {seal.number} says"
        elif seal.digest(self.digest) != digest:
            told = f"seal {seal.number} of {rows_told} is not what was sealed"
        elif self._leaves_anchor(seal, digest):
            told = (
                f"seal {seal.number} is not the one that was anchored; between the anchor before it and row "
                f"{seal.last_seq} the chain was made anew"
            )
        else:
            return []
        return [Fault(kind=FaultKind.SEAL_ALTERED, message=told, seal_number=seal.number, seq=seal.first_seq)]

    def _leaves_anchor(self, seal: Seal, digest: bytes) -> bool:
        """Whether the chain leaves the anchored one here; where it has left it before, that was told."""
        anchor = self._anchors.get(seal.number)
        if anchor is None:
            return False
        left, self._diverged = self._diverged, anchor.digest != digest
        return self._diverged and not left


def _out_of_place(seal: Seal, seq: int, row: SealedRow) -> Fault | None:
    if row.seq < seq:
        return _fault(FaultKind.ROW_INSERTED, seal, row, "has a place that is taken")
    if row.seq > seq:
        return _missing(seal, seq, f"the chain has no row {seq}; the next one is row {row.seq}")
    if row.text is None:
        return _fault(FaultKind.ROW_DELETED, seal, row, "was deleted")
    return None


def _unlike(seal: Seal, row: SealedRow, rows: Sequence[SealedRow], hash_before: bytes) -> Fault | None:
    """The row is not the one that its link was made of; what else is known tells how it came to that."""
    assert row.text is not None, "a row that is gone is out of place"
    right = link(hash_before, leaf(row.text))
    if right == row.hash:
        return None
    following = next((other for other in rows if other.seq == row.seq + 1), None)
    if following and following.text and link(right, leaf(following.text)) == following.hash:
        return _fault(FaultKind.LINK_ALTERED, seal, row, "is as it was sealed, and its link is not")
    for other in rows:
        if other.text is not None and link(hash_before, leaf(other.text)) == row.hash:
            moved = f"stands where the one with id {other.audit_id} was sealed"
            return _fault(FaultKind.ROW_REORDERED, seal, row, moved)
    return _fault(FaultKind.ROW_ALTERED, seal, row, "is not what was sealed")


def _inserted(batch: SealedBatch) -> list[Fault]:
    seal = batch.seal
    return [
        Fault(
            kind=FaultKind.ROW_INSERTED,
            message=f"the row with id {each} was put in after seal {seal.number} was made, among the rows "
            f"{seal.first_seq} to {seal.last_seq}",
            seal_number=seal.number,
            audit_id=each,
        )
        for each in batch.strangers
    ]


def _missing(seal: Seal, seq: int, message: str) -> Fault:
    return Fault(kind=FaultKind.LINK_MISSING, message=message, seal_number=seal.number, seq=seq)


def _fault(kind: FaultKind, seal: Seal, row: SealedRow, what: str) -> Fault:
    return Fault(
        kind=kind,
        message=f"row {row.seq} (id {row.audit_id}) {what}",
        seal_number=seal.number,
        seq=row.seq,
        audit_id=row.audit_id,
    )
