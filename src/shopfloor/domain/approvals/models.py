"""The rows of this room, as the queries return them, and what it publishes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

ApprovalState = Literal["pending", "approved", "rejected", "expired", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Approval:
    """One thing that somebody has to say yes to."""

    id: UUID
    project_id: UUID
    job_id: UUID
    kind: str  # tool, push
    scope: str
    turn: int
    tool: str
    arguments: dict[str, Any]
    summary: str
    state: ApprovalState
    remember: bool  # the same call of the same job is approved from now on
    reason: str | None
    decided_by: UUID | None
    decided_by_name: str | None
    decided_at: datetime | None
    expires_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """A job waits for a person."""

    organization_id: UUID
    approval_id: UUID
