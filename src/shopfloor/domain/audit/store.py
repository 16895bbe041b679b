"""Every query of this room, always inside one organization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import orjson
from psycopg.rows import DictRow

from shopfloor.domain.audit.entry import Circumstances
from shopfloor.domain.audit.merkle import Node
from shopfloor.domain.audit.models import StoredCheckpoint, StoredEntry, StoredOrigin
from shopfloor.infra.tx import Tx

_COLUMNS: LiteralString = "e.id, e.leaf, n.index, o.salt, o.address, o.agent"
_JOINED: LiteralString = "left join audit_nodes n on n.entry_id = e.id left join audit_origins o on o.entry_id = e.id"


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries; None: whatever it is. `actor` is who acted or on whose behalf."""

    actor: UUID | None = None
    action: str | None = None  # its beginning: `job.`
    target: str | None = None
    project: UUID | None = None
    since: str | None = None  # as the leaf writes times
    until: str | None = None
    request: str | None = None
    result: str | None = None


async def add(tx: Tx, lines: Sequence[tuple[Circumstances, str]]) -> None:
    """Leaves and, where known, their origins: one statement with one parameter, however many lines there are."""
    await tx.execute(_ADD, (orjson.dumps([_line(around, leaf) for around, leaf in lines]).decode(),))


def _line(around: Circumstances, leaf: str) -> dict[str, Any]:
    told = {"id": around.id, "organization": around.organization_id, "leaf": leaf}
    origin, principal = around.origin, around.principal
    if not origin.address and not origin.agent:
        return told
    return told | {
        "subject": principal.user_id or principal.id, "salt": around.salt.hex(), "address": origin.address,
        "agent": origin.agent,
    }  # fmt: skip


_ADD: LiteralString = """
with line as (
  select * from json_to_recordset(%s::json) as line (
    id uuid, organization uuid, leaf text, subject uuid, salt text, address text, agent text
  )
), entry as (
  insert into audit_entries (id, organization_id, leaf) select id, organization, leaf from line
)
insert into audit_origins (entry_id, organization_id, subject_id, salt, address, agent)
select id, organization, subject, decode(salt, 'hex'), address, agent from line where salt is not null
"""


async def entries(tx: Tx, filters: Filters, *, before: UUID | None, limit: int) -> list[StoredEntry]:
    """Newest first."""
    wanted: list[tuple[LiteralString, tuple[Any, ...]]] = [("e.organization_id = %s", (tx.organization_id,))]
    if before is not None:
        wanted.append(("e.id < %s", (before,)))
    if filters.actor is not None:
        wanted.append(("(e.actor_id = %s or e.user_id = %s)", (filters.actor, filters.actor)))
    if filters.action is not None:
        wanted.append(("starts_with(e.action, %s)", (filters.action,)))
    if filters.target is not None:
        wanted.append(("e.target_id = %s", (filters.target,)))
    if filters.project is not None:
        wanted.append(("e.project_id = %s", (filters.project,)))
    if filters.since is not None:
        wanted.append(("e.at >= %s", (filters.since,)))
    if filters.until is not None:
        wanted.append(("e.at < %s", (filters.until,)))
    if filters.request is not None:
        wanted.append(("e.request_id = %s", (filters.request,)))
    if filters.result is not None:
        wanted.append(("e.result = %s", (filters.result,)))
    where: LiteralString = " and ".join(condition for condition, _ in wanted)
    rows = await tx.all(
        f"select {_COLUMNS} from audit_entries e {_JOINED} where {where} order by e.id desc limit %s",
        (*(value for _, values in wanted for value in values), limit),
    )
    return [_entry(row) for row in rows]


async def entry(tx: Tx, entry_id: UUID) -> StoredEntry | None:
    """One entry."""
    row = await tx.one(f"select {_COLUMNS} from audit_entries e {_JOINED} where e.id = %s", (entry_id,))
    return _entry(row) if row else None


async def in_tree(tx: Tx, start: int, end: int) -> list[tuple[StoredEntry, bytes]]:
    """The entries at the places `start` to `end` (excluded) with the hashes of their leaves, in order."""
    rows = await tx.all(
        f"select {_COLUMNS}, n.hash from audit_nodes n join audit_entries e on e.id = n.entry_id "
        "left join audit_origins o on o.entry_id = e.id "
        "where n.organization_id = %s and n.level = 0 and n.index >= %s and n.index < %s order by n.index",
        (tx.organization_id, start, end),
    )
    return [(_entry(row), row["hash"]) for row in rows]


async def nodes(tx: Tx, organization_id: UUID, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """The hashes of these nodes, by level and index."""
    rows = await tx.all(
        "select n.level, n.index, n.hash from unnest(%s::smallint[], %s::bigint[]) as w(level, index) "
        "join audit_nodes n on n.organization_id = %s and n.level = w.level and n.index = w.index",
        ([level for level, _ in wanted], [index for _, index in wanted], organization_id),
    )
    return {(row["level"], row["index"]): row["hash"] for row in rows}


async def add_nodes(tx: Tx, organization_id: UUID, made: Sequence[tuple[Node, UUID | None]]) -> None:
    """Nodes that became whole; a leaf names its entry."""
    await tx.execute(
        "insert into audit_nodes (organization_id, level, index, hash, entry_id) "
        "select %s, level, index, hash, entry_id "
        "from unnest(%s::smallint[], %s::bigint[], %s::bytea[], %s::uuid[]) as made(level, index, hash, entry_id)",
        (
            organization_id, [node.level for node, _ in made], [node.place for node, _ in made],
            [node.hash for node, _ in made], [entry_id for _, entry_id in made],
        ),
    )  # fmt: skip


async def last_checkpoint(tx: Tx, organization_id: UUID) -> StoredCheckpoint | None:
    """The newest."""
    row = await tx.one(
        "select size, note, created_at from audit_checkpoints where organization_id = %s order by size desc limit 1",
        (organization_id,),
    )
    return StoredCheckpoint(**row) if row else None


async def checkpoints(tx: Tx, *, after: int, limit: int, most: int | None = None) -> list[StoredCheckpoint]:
    """Smallest first, those over more than `after` entries."""
    rows = await tx.all(
        "select size, note, created_at from audit_checkpoints where organization_id = %s and size > %s "
        "and (%s::bigint is null or size <= %s) order by size limit %s",
        (tx.organization_id, after, most, most, limit),
    )
    return [StoredCheckpoint(**row) for row in rows]


async def add_checkpoint(tx: Tx, organization_id: UUID, size: int, note: str) -> None:
    """The newest."""
    await tx.execute(
        "insert into audit_checkpoints (organization_id, size, note) values (%s, %s, %s)", (organization_id, size, note)
    )


def _entry(row: DictRow) -> StoredEntry:
    origin = None if row["salt"] is None else StoredOrigin(row["salt"], row["address"], row["agent"])
    return StoredEntry(row["id"], row["leaf"], row["index"], origin)
