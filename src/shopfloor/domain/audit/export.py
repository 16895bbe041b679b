"""The whole log as JSON lines, which is all that `verify` reads. Page by page: memory stays flat."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson

from shopfloor.base.principal import Principal
from shopfloor.domain.audit import keys, store
from shopfloor.domain.audit.lines import checkpoint_line, end_line, entry_line, header_line
from shopfloor.domain.audit.models import StoredCheckpoint, StoredEntry
from shopfloor.infra.tx import Store, begin

_PAGE = 500  # entries of one transaction


async def export(database: Store, principal: Principal) -> AsyncIterator[bytes]:
    """Lines: a header, entries each checkpoint of which follows its last, an end. Up to the newest checkpoint."""
    async with begin(database, principal) as tx:
        key = await keys.public_key(tx)
        newest = await store.last_checkpoint(tx, tx.organization_id)
    if key is None or newest is None:
        return
    yield header_line(key)
    size, checkpoints = 0, 0
    while size < newest.size:
        async with begin(database, principal) as tx:
            signed = await store.checkpoints(tx, after=size, limit=_PAGE, most=newest.size)
            upto = _whole(signed, size)
            entries = await store.in_tree(tx, size, upto[-1].size)
        yield b"".join(_lines(upto, entries))
        size, checkpoints = upto[-1].size, checkpoints + len(upto)
    yield end_line(size, checkpoints)


def _whole(signed: list[StoredCheckpoint], size: int) -> list[StoredCheckpoint]:
    """As many checkpoints as one page of entries holds, one at least."""
    fitting = [each for each in signed if each.size - size <= _PAGE]
    return fitting or signed[:1]


def _lines(signed: list[StoredCheckpoint], entries: list[tuple[StoredEntry, bytes]]) -> list[bytes]:
    lines: list[bytes] = []
    waiting = list(signed)
    for entry, leaf_hash in entries:
        assert entry.index is not None
        lines.append(entry_line(entry.index, orjson.loads(entry.leaf), _origin(entry), leaf_hash))
        while waiting and waiting[0].size <= entry.index + 1:
            lines.append(checkpoint_line(waiting.pop(0).note))
    return lines + [checkpoint_line(each.note) for each in waiting]


def _origin(entry: StoredEntry) -> dict[str, str] | None:
    if entry.origin is None:
        return None
    return {"salt": entry.origin.salt.hex(), "address": entry.origin.address, "agent": entry.origin.agent}
