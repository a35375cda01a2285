"""What audit rows hash to: against the vectors of Certificate Transparency, and as properties."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from domain.audit import Seal, leaf, link, merkle_path, merkle_root, root_by_path

# The leaves and roots that the reference implementation of RFC 6962 (now RFC 9162) tests itself with.
CT_LEAVES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

texts = st.lists(st.binary(max_size=20), min_size=1, max_size=40)


def test_the_tree_is_that_of_rfc_9162() -> None:
    leaves = [leaf(each) for each in CT_LEAVES]
    assert [merkle_root(leaves[: size + 1]).hex() for size in range(len(leaves))] == CT_ROOTS


@given(texts, st.data())
def test_each_row_is_proven_by_its_path_and_by_no_other_place(rows: list[bytes], data: st.DataObject) -> None:
    leaves = [leaf(each) for each in rows]
    index = data.draw(st.integers(0, len(rows) - 1))
    path = merkle_path(leaves, index)

    def led_to(leaf_hash: bytes, place: int) -> bytes | None:
        return root_by_path(leaf_hash, index=place, size=len(rows), path=path)

    assert led_to(leaves[index], index) == merkle_root(leaves)
    assert led_to(leaf(b"another row"), index) != merkle_root(leaves)
    for place in range(len(rows)):
        if leaves[place] != leaves[index]:
            assert led_to(leaves[index], place) != merkle_root(leaves)
    assert root_by_path(leaves[index], index=index, size=len(rows), path=(*path, leaves[0])) is None


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=70))
def test_a_row_a_link_and_a_seal_never_stand_for_each_other(before: bytes, content: bytes) -> None:
    seal = Seal(number=1, first_seq=1, last_seq=1, horizon=1, root=before, head=before)
    made = {leaf(content), link(before, content), seal.digest(before), sha256(content).digest()}
    assert len(made) == 4
