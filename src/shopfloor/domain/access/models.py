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
    slug: str
    name: str
    operator: bool  # runs the installation: may make other organizations
    max_running_jobs: int
    time_zone: str  # IANA; where its days begin, for budgets and summaries
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Member:
    """A person or a service account of one organization."""

    id: UUID
    email: str
    name: str
    kind: str
    role: str
    disabled_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Role:
    """A role of an organization's own."""

    id: UUID
    name: str
    description: str
    base: str | None  # the built-in role it was made from
    permissions: list[str]
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Team:
    """People who work together; `role` is theirs in each project the team owns."""

    id: UUID
    slug: str
    name: str
    description: str
    role: str
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class TeamMember:
    """Somebody in a team."""

    team_id: UUID
    user_id: UUID
    name: str
    team_role: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that a person or a team has in one project."""

    id: UUID
    project_id: UUID
    user_id: UUID | None
    team_id: UUID | None
    role: str
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
    owner_id: UUID | None
    team_id: UUID | None
    security_level: str
    classification: str
    compliance: list[str]
    cost_centre: str | None
    visibility: str
    email_domains: list[str]
    ip_ranges: list[str]
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
