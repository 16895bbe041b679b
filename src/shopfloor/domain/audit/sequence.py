"""Gives committed entries their place in the tree, and signs it: one at a time an organization, beside the writers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import psycopg
import structlog

from shopfloor.base.errors import ShopfloorError
from shopfloor.domain.audit import merkle, store
from shopfloor.domain.audit.entry import moment
from shopfloor.domain.audit.keys import signing_key
from shopfloor.domain.audit.merkle import Node, Tree, leaf_hash
from shopfloor.domain.audit.note import Checkpoint, origin_of, sign
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Store, Tx, begin_system

_LOCK = 0x5F0F_1009  # with the organization: one sequencer at a time; the number is ours
_BATCH = 2_000  # entries of one checkpoint
_LAST_S = 3.0
_EVERYTHING = "0"  # before any transaction

log = structlog.get_logger(__name__)

KeepOutside = Callable[[Checkpoint, str], None]


@dataclass(frozen=True, slots=True)
class Signed:
    """A new checkpoint, as it was committed."""

    checkpoint: Checkpoint
    note: str


class Sequencer:
    """One a process; any number of them work on one database. `keep_outside` may block: it runs in a thread.

    No entry is skipped, however late its transaction commits: what counts is that it has no leaf yet, not when it was
    written. Entries older than `_horizon` are not looked at again: when they were last, every transaction before it had
    ended, and all that they left had its leaf. The horizon lives in memory, since a restored database counts anew.
    """

    def __init__(self, database: Store, sealer: Sealer, *, keep_outside: KeepOutside, interval_s: float = 1.0) -> None:
        self._store = database
        self._sealer = sealer
        self._keep_outside = keep_outside
        self._interval_s = interval_s
        self._horizon = _EVERYTHING

    async def run(self) -> None:
        """Again and again, until cancelled."""
        while True:
            try:
                await self.catch_up()
            except ShopfloorError as error:
                log.warning("audit.sequencer-waits", why=error.detail)
            except psycopg.Error:
                log.exception(
                    "audit.sequencer-failed"
                )  # a right or table that is gone: entries wait, and nothing is lost
            await self._store.services.clock.sleep(self._interval_s)

    async def finish(self) -> None:
        """Once more before the process ends: what was recorded last doesn't wait for the next start."""
        with suppress(ShopfloorError, psycopg.Error, TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await self.catch_up()

    async def catch_up(self) -> int:
        """Every entry that is committed by now gets its leaf and a checkpoint over it; how many did."""
        async with begin_system(self._store) as tx:
            horizon, waiting = await _waiting(tx, self._horizon)
        placed = 0
        for organization_id in waiting:
            while made := await self._extend(organization_id):
                placed += made
        self._horizon = horizon
        return placed

    async def _extend(self, organization_id: UUID) -> int:
        async with begin_system(self._store) as tx:
            signed, placed = await extend(tx, self._sealer, organization_id, since=self._horizon)
        if signed is not None:
            await asyncio.to_thread(self._keep_outside, signed.checkpoint, signed.note)
        return placed


async def extend(
    tx: Tx, sealer: Sealer, organization_id: UUID, *, since: str = _EVERYTHING
) -> tuple[Signed | None, int]:
    """One checkpoint over up to `_BATCH` more entries of the organization; None and 0 where nothing waits."""
    await tx.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, str(organization_id)))
    rows = await tx.all(
        "select id, leaf from audit_entries e where organization_id = %s and xid >= %s::xid8 "
        "and not exists (select from audit_nodes n where n.entry_id = e.id) order by id limit %s",
        (organization_id, since, _BATCH),
    )
    if not rows:
        return None, 0
    last = await store.last_checkpoint(tx, organization_id)
    size = last.size if last else 0
    tree = await tree_of(tx, organization_id, size)
    made: list[tuple[Node, UUID | None]] = []
    for row in rows:
        leaf, *above = tree.append(leaf_hash(row["leaf"].encode()))
        made += [(leaf, row["id"]), *((node, None) for node in above)]
    await store.add_nodes(tx, organization_id, made)
    checkpoint = Checkpoint(origin_of(organization_id), tree.size, tree.root(), moment(tx.clock.now()), size)
    note = sign(checkpoint, await signing_key(tx, sealer, organization_id))
    await store.add_checkpoint(tx, organization_id, tree.size, note)
    return Signed(checkpoint, note), len(rows)


async def tree_of(tx: Tx, organization_id: UUID, size: int) -> Tree:
    """The right edge of the tree as it was at `size`."""
    wanted = merkle.nodes_over((0, size))
    found = await store.nodes(tx, organization_id, wanted)
    return Tree(size, [found[node] for node in wanted])


async def _waiting(tx: Tx, since: str) -> tuple[str, list[UUID]]:
    """The horizon as of now, then whose entries have no leaf. In this order: else one is missed."""
    now = await tx.one("select pg_snapshot_xmin(pg_current_snapshot())::text as horizon")
    assert now is not None
    rows = await tx.all(
        "select distinct organization_id from audit_entries e where xid >= %s::xid8 "
        "and not exists (select from audit_nodes n where n.entry_id = e.id)",
        (since,),
    )
    return now["horizon"], [row["organization_id"] for row in rows]
