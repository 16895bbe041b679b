"""What this room publishes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class DeadLetterAdded:
    """A job or a task was given up and waits for somebody's decision. Once for each letter."""

    organization_id: UUID
    letter_id: UUID
    kind: str
    task: str
    project_id: UUID | None
    job_id: UUID | None
