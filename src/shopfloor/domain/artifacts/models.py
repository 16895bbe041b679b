"""The rows of this room, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something a job left behind."""

    id: UUID
    job_id: UUID
    run_id: UUID | None
    name: str
    media_type: str
    digest: str  # SHA-256 of the content, hex
    size_bytes: int
    created_at: datetime
