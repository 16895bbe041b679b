"""The row of this room, as the queries return it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

Kind = Literal["job", "task"]
LetterState = Literal["open", "requeued", "discarded"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job or a task that was given up."""

    id: UUID
    project_id: UUID | None  # None: of the whole organization
    kind: Kind
    task: str  # the name on the queue; of a job `jobs.run`
    queue: str
    job_id: UUID | None  # the job, or the one that the task is about
    task_id: int | None  # the number it had on the queue
    reason: dict[str, Any]  # {code, title, detail}
    history: list[dict[str, Any]]  # {attempt, worker, at, error}, oldest first
    attempts: int
    payload: dict[str, Any]  # a task's arguments, what a job asked for; secrets are struck out
    struck_out: bool  # whether any were
    state: LetterState
    requeued_as: str | None  # the new job's id, or the task's new number
    settled_by: UUID | None
    settled_at: datetime | None
    discard_reason: str | None
    version: int
    created_at: datetime
