"""What people ask of the log: read it, and say that it was restored. Reading it is itself recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from shopfloor.domain.audit import store
from shopfloor.domain.audit.errors import AuditEntryNotFound, RestoreUnfounded
from shopfloor.domain.audit.lines import RESTORED
from shopfloor.domain.audit.models import StoredCheckpoint, StoredEntry
from shopfloor.domain.audit.proofs import InclusionProof, inclusion_proof, root_at
from shopfloor.domain.audit.store import Filters
from shopfloor.infra.tx import Tx


async def list_entries(tx: Tx, filters: Filters, *, before: UUID | None, limit: int) -> list[StoredEntry]:
    """Newest first. Raises: PermissionDenied."""
    tx.require("audit.read")
    found = await store.entries(tx, filters, before=before, limit=limit)
    await tx.record_read("audit.read", "audit", "entries", after=_asked(filters))
    return found


async def find_entry(tx: Tx, entry_id: UUID) -> tuple[StoredEntry, InclusionProof | None]:
    """An entry, and the proof that it is in the newest checkpoint. Raises: PermissionDenied, AuditEntryNotFound."""
    tx.require("audit.read")
    found = await store.entry(tx, entry_id)
    if found is None:
        raise AuditEntryNotFound(f"There is no audit entry {entry_id}. GET /api/v1/audit lists them.")
    await tx.record_read("audit.read", "audit", entry_id)
    return found, None if found.index is None else await inclusion_proof(tx, found.index)


async def list_checkpoints(tx: Tx, *, after: int, limit: int) -> list[StoredCheckpoint]:
    """Smallest first. Raises: PermissionDenied."""
    tx.require("audit.read")
    return await store.checkpoints(tx, after=after, limit=limit)


async def newest_checkpoint(tx: Tx) -> StoredCheckpoint:
    """Over all that has its place by now. Raises: AuditEntryNotFound where nothing was recorded yet."""
    found = await store.last_checkpoint(tx, tx.organization_id)
    if found is None:
        raise AuditEntryNotFound("Nothing was recorded yet, so nothing was signed. Ask again after the first change.")
    return found


async def note_restore(tx: Tx, *, size: int | None, reason: str) -> None:
    """Say that the database was put back to where the log had `size` entries (None: as many as it has now).

    Checkpoints beyond it that were kept outside stand for entries that are gone: verification names this entry for them
    instead of a roll-back. Raises: PermissionDenied, RestoreUnfounded.
    """
    tx.require("organization.edit")
    last = await store.last_checkpoint(tx, tx.organization_id)
    most = last.size if last else 0
    size = most if size is None else size
    if not 0 < size <= most:
        raise RestoreUnfounded(
            f"The log has {most} entries, so it can't have been restored to {size}. Name a size from 1 to {most}, or "
            "leave it out for the present one.",
            size=most,
        )
    root = await root_at(tx, size)
    await tx.record(RESTORED, "audit", "log", after={"size": size, "root": root.hex(), "reason": reason})


def _asked(filters: Filters) -> Mapping[str, Any]:
    return {name: value for name, value in dataclasses.asdict(filters).items() if value is not None}
