"""The rows of this room, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant: everything belongs to exactly one."""

    id: UUID
    name: str
    max_running_jobs: int
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Project:
    """Where jobs are submitted to; its settings are their defaults and bounds."""

    id: UUID
    slug: str
    name: str
    status: str
    priority: int
    max_running_jobs: int
    settings: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; its secret is not."""

    id: UUID
    user_id: UUID
    name: str
    public_id: str
    permissions: list[str]
    project_ids: list[UUID] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_used_address: str | None
    ip_ranges: list[str] | None
    rotated_at: datetime | None
    previous_until: datetime | None
