"""A Merkle tree that only grows: roots, inclusion and consistency. Pure. Source: RFC 6962, section 2.1; RFC 9162, 2.1.

A node is named by its level (0: leaves) and its index in it; the node (level, index) stands over the leaves
[index << level, (index + 1) << level). Whatever a proof needs is made of such whole nodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

EMPTY = hashlib.sha256(b"").digest()  # the root of a tree without leaves
Range = tuple[int, int]  # leaves from..to, the last excluded


class Node(NamedTuple):
    """A whole subtree."""

    level: int
    place: int  # its index in the level
    hash: bytes


def leaf_hash(data: bytes) -> bytes:
    """Of a leaf: told apart from a node's by its first byte, so that neither can be passed off as the other."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The right edge of a growing tree: its whole subtrees, largest first. Memory grows with the logarithm."""

    def __init__(self, size: int = 0, edge: Iterable[bytes] = ()) -> None:
        self.size = size
        self._edge = list(edge)
        if len(self._edge) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} whole subtrees")

    def append(self, leaf: bytes) -> list[Node]:
        """Add the hash of a leaf; the nodes that became whole by it, the leaf first."""
        made = [Node(0, self.size, leaf)]
        level, above = 0, self.size
        while above & 1:
            level, above = level + 1, above >> 1
            made.append(Node(level, above, node_hash(self._edge.pop(), made[-1].hash)))
        self._edge.append(made[-1].hash)
        self.size += 1
        return made

    def add(self, leaf: bytes) -> None:
        """The same where the nodes aren't wanted: a verifier's inner loop."""
        size = self.size
        while size & 1:
            leaf = node_hash(self._edge.pop(), leaf)
            size >>= 1
        self._edge.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Over all leaves so far."""
        return fold(self._edge)


def fold(subtrees: Sequence[bytes]) -> bytes:
    """The root over neighbouring whole subtrees, largest first."""
    if not subtrees:
        return EMPTY
    root = subtrees[-1]
    for left in reversed(subtrees[:-1]):
        root = node_hash(left, root)
    return root


def nodes_over(part: Range) -> list[tuple[int, int]]:
    """The whole subtrees (level, index) that make up a range, largest first. It starts where its largest may."""
    start, end = part
    found: list[tuple[int, int]] = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def inclusion(index: int, size: int) -> list[Range]:
    """The subtrees beside the way from leaf `index` up to the root of `size` leaves, lowest first."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    start, end = 0, size
    beside: list[Range] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            beside.append((middle, end))
            end = middle
        else:
            beside.append((start, middle))
            start = middle
    return beside[::-1]


def consistency(old: int, size: int) -> list[Range]:
    """The subtrees that show the tree of `old` leaves to be the beginning of that of `size`, lowest first."""
    if not 0 < old <= size:
        raise ValueError(f"a tree of {old} leaves is no beginning of one of {size}")
    start, end, known = 0, size, True
    beside: list[Range] = []
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            beside.append((middle, end))
            end = middle
        else:
            beside.append((start, middle))
            start, known = middle, False
    if not known:
        beside.append((start, end))
    return beside[::-1]


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` leads from the leaf's hash to the root. Source: RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    node, last, found = index, size - 1, leaf
    for beside in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(beside, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, beside)
        node, last = node >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows the old tree to be the beginning of the other. Source: RFC 9162, section 2.1.4.2."""
    if old == size:
        return not proof and old_root == root
    if not 0 < old < size or not proof:
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]  # a power of two is its own first subtree
    node, last = old - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = path[0]
    for beside in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            before, after = node_hash(beside, before), node_hash(beside, after)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            after = node_hash(after, beside)
        node, last = node >> 1, last >> 1
    return last == 0 and before == old_root and after == root


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
