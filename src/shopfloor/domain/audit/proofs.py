"""Shows that an entry is in the tree, and that one tree is the beginning of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shopfloor.domain.audit import merkle, store
from shopfloor.domain.audit.merkle import Range
from shopfloor.infra.tx import Tx


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """From the leaf `index` up to the root of the checkpoint in `note`."""

    index: int
    size: int
    hashes: tuple[bytes, ...]
    note: str


async def inclusion_proof(tx: Tx, index: int) -> InclusionProof | None:
    """Against the newest checkpoint; None where there is none that covers the entry."""
    last = await store.last_checkpoint(tx, tx.organization_id)
    if last is None or index >= last.size:
        return None
    hashes = await _hashes(tx, merkle.inclusion(index, last.size))
    return InclusionProof(index, last.size, hashes, last.note)


async def consistency_proof(tx: Tx, old: int, size: int) -> tuple[bytes, ...]:
    """Between two sizes that the tree has had."""
    return await _hashes(tx, merkle.consistency(old, size))


async def root_at(tx: Tx, size: int) -> bytes:
    """The root over the first `size` entries."""
    [root] = await _hashes(tx, [(0, size)])
    return root


async def _hashes(tx: Tx, ranges: Sequence[Range]) -> tuple[bytes, ...]:
    """The hash over each range, all nodes asked for at once."""
    parts = [merkle.nodes_over(each) for each in ranges]
    found = await store.nodes(tx, tx.organization_id, [node for part in parts for node in part])
    return tuple(merkle.fold([found[node] for node in part]) for part in parts)
