"""A pass over a chain: an untouched one is good, and each way to touch it is found and named."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from domain.audit import ORIGIN, Fault, FaultKind, Seal, leaf, link, merkle_root
from domain.audit_check import FAULTS_PER_SEAL, Anchor, ChainCheck, SealedBatch, SealedRow

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
        if found := check.check(batch):
            return found[0]
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


@given(chains, st.data())
def test_no_fault_hides_another_one_in_its_seal_or_behind_it(sizes: list[int], data: st.DataObject) -> None:
    chain = make_chain(sizes)
    bad = data.draw(st.sets(st.sampled_from(places(chain)), min_size=1, max_size=FAULTS_PER_SEAL))
    for at in bad:
        rows = list(chain[at.batch].rows)
        rows[at.row] = replace(rows[at.row], text=b"another story")
        chain = with_rows(chain, at.batch, rows)
    check = ChainCheck()
    found = [fault.seq for batch in chain for fault in check.check(batch)]
    assert found == sorted(chain[at.batch].rows[at.row].seq for at in bad)


def test_of_a_seal_that_was_rewritten_as_a_whole_so_many_rows_are_told() -> None:
    (batch,) = make_chain([FAULTS_PER_SEAL * 2])
    found = ChainCheck().check(replace(batch, rows=[replace(row, text=b"x") for row in batch.rows]))
    assert [fault.seq for fault in found] == list(range(1, FAULTS_PER_SEAL + 1))


def test_a_chain_that_left_the_anchored_one_is_told_where_it_left_it_and_by_its_end() -> None:
    chain, forged = make_chain([3, 3, 3, 3]), make_chain([3, 2, 1, 3])
    check = ChainCheck(anchors=anchors_of(chain))
    assert [fault.seal_number for batch in forged[:3] for fault in check.check(batch)] == [2]
    end = check.end()
    assert end is not None
    assert end.kind is FaultKind.TAIL_CUT
