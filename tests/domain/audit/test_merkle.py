"""The tree against RFC 6962: known roots, its own definitions written out, and proofs that must and must not hold."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.domain.audit import merkle
from shopfloor.domain.audit.merkle import Tree, leaf_hash

# Source: inputs and roots of the test suite of RFC 6962's reference implementation, certificate-transparency.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = st.integers(1, 200)


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(size)]


def mth(hashes: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = largest_power_below(len(hashes))
    return hashlib.sha256(b"\x01" + mth(hashes[:split]) + mth(hashes[split:])).digest()


def path(index: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1."""
    if len(hashes) == 1:
        return []
    split = largest_power_below(len(hashes))
    if index < split:
        return [*path(index, hashes[:split]), mth(hashes[split:])]
    return [*path(index - split, hashes[split:]), mth(hashes[:split])]


def subproof(old: int, hashes: list[bytes], *, whole: bool) -> list[bytes]:
    """RFC 6962, section 2.1.2."""
    if old == len(hashes):
        return [] if whole else [mth(hashes)]
    split = largest_power_below(len(hashes))
    if old <= split:
        return [*subproof(old, hashes[:split], whole=whole), mth(hashes[split:])]
    return [*subproof(old - split, hashes[split:], whole=False), mth(hashes[:split])]


def largest_power_below(size: int) -> int:
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def over(ranges: list[merkle.Range], hashes: list[bytes]) -> list[bytes]:
    return [mth(hashes[start:end]) for start, end in ranges]


def test_the_reference_roots_come_out():
    tree, roots = Tree(), []
    for text in INPUTS:
        tree.append(leaf_hash(bytes.fromhex(text)))
        roots.append(tree.root().hex())
    assert roots == ROOTS
    assert Tree().root() == merkle.EMPTY


def test_the_seven_leaves_of_the_rfcs_example_have_its_proofs():
    """RFC 6962, section 2.1.3: a..g are leaves, h = (a, b), i = (c, d), j = (e, f), k = (h, i), l = (j, g)."""
    a, b, c, d, e, f, g = leaves(7)
    h, i, j = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k = merkle.node_hash(h, i)
    l_ = merkle.node_hash(j, g)
    hashes = leaves(7)
    assert over(merkle.inclusion(0, 7), hashes) == [b, i, l_]
    assert over(merkle.inclusion(3, 7), hashes) == [c, h, l_]
    assert over(merkle.inclusion(4, 7), hashes) == [f, g, k]
    assert over(merkle.inclusion(6, 7), hashes) == [j, k]
    assert over(merkle.consistency(3, 7), hashes) == [c, d, h, l_]
    assert over(merkle.consistency(4, 7), hashes) == [l_]
    assert over(merkle.consistency(6, 7), hashes) == [j, g, k]


@given(SIZES)
def test_a_growing_tree_has_the_root_and_the_whole_nodes_of_the_definition(size: int):
    tree, quick, hashes = Tree(), Tree(), leaves(size)
    for number, leaf in enumerate(hashes):
        for node in tree.append(leaf):
            start = node.place << node.level
            assert node.hash == mth(hashes[start : start + (1 << node.level)])
            assert start + (1 << node.level) == number + 1 or node.level == 0
        quick.add(leaf)
    assert tree.root() == quick.root() == mth(hashes)


@given(SIZES, SIZES)
def test_an_edge_taken_up_again_grows_to_the_same_root(size: int, more: int):
    hashes = leaves(size + more)
    edge = [mth(hashes[place << level : (place + 1) << level]) for level, place in merkle.nodes_over((0, size))]
    tree = Tree(size, edge)
    for leaf in hashes[size:]:
        tree.append(leaf)
    assert tree.root() == mth(hashes)


@given(st.data(), SIZES)
def test_inclusion_is_proved_for_the_leaf_in_its_place_and_for_nothing_else(data: st.DataObject, size: int):
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    proof, root = over(merkle.inclusion(index, size), hashes), mth(hashes)
    assert proof == path(index, hashes)
    assert merkle.is_included(hashes[index], index, size, proof, root)
    assert not merkle.is_included(leaf_hash(b"other"), index, size, proof, root)
    assert not merkle.is_included(hashes[index], index, size, proof, leaf_hash(b"other"))
    assert not merkle.is_included(hashes[index], index, size, [*proof, root], root)
    assert not merkle.is_included(hashes[index], size, size, proof, root)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not merkle.is_included(hashes[index], index, size, proof[:at] + proof[at + 1 :], root)
        assert not merkle.is_included(hashes[index], index ^ 1, size, proof, root) or size == 1


@given(st.data(), SIZES)
def test_consistency_is_proved_between_two_sizes_and_for_no_other_root(data: st.DataObject, size: int):
    old = data.draw(st.integers(1, size))
    hashes = leaves(size)
    proof, before, after = over(merkle.consistency(old, size), hashes), mth(hashes[:old]), mth(hashes)
    assert proof == subproof(old, hashes, whole=True)
    assert merkle.is_consistent(old, before, size, after, proof)
    other = leaf_hash(b"other")
    assert not merkle.is_consistent(old, other, size, after, proof)
    assert not merkle.is_consistent(old, before, size, other, proof)
    assert not merkle.is_consistent(old, before, size, after, [*proof, other])
    assert not merkle.is_consistent(size + 1, before, size, after, proof)
    if proof:
        assert not merkle.is_consistent(old, before, size, after, proof[:-1])


def test_what_is_out_of_the_tree_is_refused():
    for wrong in ((-1, 4), (4, 4)):
        with pytest.raises(ValueError, match="not in a tree"):
            merkle.inclusion(*wrong)
    for wrong in ((0, 4), (5, 4)):
        with pytest.raises(ValueError, match="no beginning"):
            merkle.consistency(*wrong)
    with pytest.raises(ValueError, match="whole subtrees"):
        Tree(3, [b""])
