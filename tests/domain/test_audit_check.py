"""A pass over a chain: an untouched one is good, and each way to touch it is found and named."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit import ORIGIN, Fault, FaultKind, Seal, leaf, link, merkle_root
from domain.audit_check import Anchor, ChainCheck, SealedBatch, SealedRow

ANCHORED_AT = datetime(2026, 1, 1, tzinfo=UTC)

chains = st.lists(st.integers(1, 7), min_size=1, max_size=5)


def make_chain(sizes: Sequence[int]) -> list[SealedBatch]:
    batches, head, digest, seq = [], ORIGIN, ORIGIN, 0
    for number, size in enumerate(sizes, start=1):
        rows = []
        for place in range(seq + 1, seq + size + 1):
            text = f"row {place}".encode()
            head = link(head, leaf(text))
            rows.append(
                SealedRow(seq=place, audit_id=100 + place, hash=head, text=text, order=(place, 100 + place))
            )
        root = merkle_root([leaf(row.text or b"") for row in rows])
        seal = Seal(
            number=number, first_seq=seq + 1, last_seq=seq + size, horizon=seq + size + 1, root=root, head=head
        )
        digest = seal.digest(digest)
        seq += size
        batches.append(SealedBatch(seal=seal, digest=digest, rows=rows))
    return batches


def anchors_of(chain: Sequence[SealedBatch]) -> dict[int, Anchor]:
    return {
        each.seal.number: Anchor(
            seal_number=each.seal.number, last_seq=each.seal.last_seq, digest=each.digest, at=ANCHORED_AT
        )
        for each in chain
    }


def first_fault(chain: Sequence[SealedBatch], anchored: Sequence[SealedBatch] = ()) -> Fault | None:
    check = ChainCheck(anchors=anchors_of(anchored))
    for batch in chain:
        if (fault := check.check(batch)) is not None:
            return fault
    return check.end()


@dataclass(frozen=True)
class Place:
    batch: int
    row: int


def places(chain: Sequence[SealedBatch]) -> list[Place]:
    return [Place(b, r) for b, batch in enumerate(chain) for r in range(len(batch.rows))]


def with_rows(chain: list[SealedBatch], batch: int, rows: Sequence[SealedRow]) -> list[SealedBatch]:
    return [*chain[:batch], replace(chain[batch], rows=rows), *chain[batch + 1 :]]


@given(chains)
def test_a_chain_that_nobody_touched_is_good(sizes: list[int]) -> None:
    chain = make_chain(sizes)
    assert first_fault(chain, anchored=chain) is None


@given(chains, st.data())
def test_a_row_that_was_altered_is_named(sizes: list[int], data: st.DataObject) -> None:
    chain = make_chain(sizes)
    at = data.draw(st.sampled_from(places(chain)))
    rows = list(chain[at.batch].rows)
    rows[at.row] = replace(rows[at.row], text=b"another story")
    fault = first_fault(with_rows(chain, at.batch, rows))
    assert fault is not None
    assert (fault.kind, fault.seq) == (FaultKind.ROW_ALTERED, rows[at.row].seq)


@given(chains, st.data())
def test_a_row_that_was_deleted_is_named_whether_or_not_its_link_went_too(
    sizes: list[int], data: st.DataObject
) -> None:
    chain = make_chain(sizes)
    at = data.draw(st.sampled_from(places(chain)))
    rows = list(chain[at.batch].rows)
    gone = rows[at.row]
    emptied = [*rows[: at.row], replace(gone, text=None), *rows[at.row + 1 :]]
    fault = first_fault(with_rows(chain, at.batch, emptied))
    assert fault is not None
    assert (fault.kind, fault.audit_id) == (FaultKind.ROW_DELETED, gone.audit_id)

    fault = first_fault(with_rows(chain, at.batch, [row for row in rows if row is not gone]))
    assert fault is not None
    assert (fault.kind, fault.seq) == (FaultKind.LINK_MISSING, gone.seq)


@given(chains, st.data())
def test_two_rows_that_changed_places_are_named(sizes: list[int], data: st.DataObject) -> None:
    chain = make_chain([*sizes, 3])
    batch = data.draw(st.sampled_from([b for b, each in enumerate(chain) if len(each.rows) > 1]))
    rows = list(chain[batch].rows)
    first, second = sorted(data.draw(st.permutations(range(len(rows))))[:2])
    moved = list(rows)
    for here, there in ((first, second), (second, first)):
        moved[here] = replace(
            rows[here], audit_id=rows[there].audit_id, text=rows[there].text, order=rows[there].order
        )
    fault = first_fault(with_rows(chain, batch, moved))
    assert fault is not None
    assert (fault.kind, fault.seq) == (FaultKind.ROW_REORDERED, rows[first].seq)


def test_rows_whose_chain_was_made_anew_in_another_order_are_named_by_when_they_were_written() -> None:
    (batch,) = make_chain([2])
    first, second = batch.rows
    rows = [
        replace(second, seq=1, hash=link(ORIGIN, leaf(second.text or b""))),
        replace(first, seq=2, hash=link(link(ORIGIN, leaf(second.text or b"")), leaf(first.text or b""))),
    ]
    fault = first_fault([replace(batch, rows=rows)])
    assert fault is not None
    assert (fault.kind, fault.audit_id) == (FaultKind.ROW_REORDERED, first.audit_id)


@given(chains, st.data())
def test_a_row_that_was_put_in_is_named(sizes: list[int], data: st.DataObject) -> None:
    chain = make_chain(sizes)
    at = data.draw(st.sampled_from(places(chain)))
    fault = first_fault([*chain[: at.batch], replace(chain[at.batch], strangers=[999]), *chain[at.batch + 1 :]])
    assert fault is not None
    assert (fault.kind, fault.audit_id) == (FaultKind.ROW_INSERTED, 999)

    rows = list(chain[at.batch].rows)
    fault = first_fault(with_rows(chain, at.batch, [*rows[: at.row + 1], *rows[at.row :]]))
    assert fault is not None
    assert (fault.kind, fault.seq) == (FaultKind.ROW_INSERTED, rows[at.row].seq)


@given(chains, st.data())
def test_a_link_or_a_seal_that_was_altered_is_found(sizes: list[int], data: st.DataObject) -> None:
    chain = make_chain(sizes)
    at = data.draw(st.sampled_from(places(chain)))
    rows = list(chain[at.batch].rows)
    rows[at.row] = replace(rows[at.row], hash=bytes(32))
    fault = first_fault(with_rows(chain, at.batch, rows))
    assert fault is not None
    # The last one of a seal has nothing behind it that would show which of the two was altered.
    altered = FaultKind.ROW_ALTERED if at.row + 1 == len(rows) else FaultKind.LINK_ALTERED
    assert (fault.kind, fault.seq) == (altered, rows[at.row].seq)

    seal = replace(chain[at.batch].seal, horizon=10_000)
    fault = first_fault([*chain[: at.batch], replace(chain[at.batch], seal=seal), *chain[at.batch + 1 :]])
    assert fault is not None
    assert (fault.kind, fault.seal_number) == (FaultKind.SEAL_ALTERED, seal.number)


@given(chains, st.data())
def test_a_seal_that_is_missing_in_the_middle_is_found(sizes: list[int], data: st.DataObject) -> None:
    chain = make_chain([*sizes, 1])
    gone = data.draw(st.integers(0, len(chain) - 2))
    fault = first_fault([*chain[:gone], *chain[gone + 1 :]])
    assert fault is not None
    assert (fault.kind, fault.seal_number) == (FaultKind.SEAL_MISSING, gone + 1)


@given(chains, st.data())
def test_a_tail_that_was_cut_is_seen_by_the_anchor_alone(sizes: list[int], data: st.DataObject) -> None:
    chain = make_chain([*sizes, 2])
    kept = chain[: data.draw(st.integers(0, len(chain) - 1))]
    assert first_fault(kept) is None
    fault = first_fault(kept, anchored=chain)
    assert fault is not None
    end = kept[-1].seal.last_seq if kept else 0
    assert (fault.kind, fault.seq) == (FaultKind.TAIL_CUT, end + 1)


def test_a_chain_that_was_made_anew_is_not_the_one_that_was_anchored() -> None:
    chain = make_chain([3, 3])
    forged = make_chain([3, 2, 1])
    assert first_fault(forged) is None
    fault = first_fault(forged, anchored=chain)
    assert fault is not None
    assert (fault.kind, fault.seal_number) == (FaultKind.SEAL_ALTERED, 2)


@pytest.mark.parametrize("bad", [0, 1])
def test_a_pass_goes_on_behind_a_fault_and_finds_the_next(bad: int) -> None:
    chain = make_chain([2, 2, 2])
    for batch in (bad, bad + 1):
        rows = [replace(row, text=b"altered") for row in chain[batch].rows]
        chain = with_rows(chain, batch, rows)
    check, found = ChainCheck(), []
    for each in chain:
        if (fault := check.check(each)) is not None:
            found.append(fault.seq)
            check.pass_over(each)
    assert found == [chain[bad].seal.first_seq, chain[bad + 1].seal.first_seq]
