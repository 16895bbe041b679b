"""The rows of this room, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What every record of a project has."""

    id: UUID
    project_id: UUID
    name: str
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Record):
    """Where a project is deployed to."""

    kind: str
    protected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Record):
    """A version of a project's software; `name` is that version."""

    status: str
    notes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprint(Record):
    """A stretch of time with a goal."""

    goal: str
    starts: date
    ends: date  # the last day
