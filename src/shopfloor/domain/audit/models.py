"""The rows of this room, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class StoredOrigin:
    """Where an entry came from. Personal data: erased by `audit_erase_origins()`, and the tree stays whole."""

    salt: bytes
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it was written; everything it says stands in `leaf`."""

    id: UUID
    leaf: str
    index: int | None  # its place in the tree; None: not yet there
    origin: StoredOrigin | None  # None: erased, or nothing was known


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed note over the first `size` entries."""

    size: int
    note: str
    created_at: datetime
