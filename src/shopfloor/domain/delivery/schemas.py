"""What goes in and out of this room over HTTP."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from shopfloor.infra.web.json_body import Body, Reply

ProjectOf = Annotated[str, StringConstraints(min_length=1, max_length=64)]
RecordName = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Notes = Annotated[str, StringConstraints(max_length=20_000)]
Kind = Literal["dev", "staging", "production"]
ReleaseStatus = Literal["planned", "released", "withdrawn"]


class RecordReply(Reply):
    """What every record of a project has."""

    id: UUID
    project_id: UUID
    name: str
    version: int
    created_at: datetime
    updated_at: datetime


class EnvironmentNew(Body):
    """An environment to make."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"project": "shop", "name": "live", "kind": "production", "protected": True}]}
    )

    project: ProjectOf = Field(description="Id or slug.")
    name: RecordName
    kind: Kind = "dev"
    protected: bool = Field(default=False, description="A mark for those who deploy: ask before.")


class EnvironmentChange(Body):
    """What to change. What is left out stays."""

    name: RecordName = ""
    kind: Kind = "dev"
    protected: bool = False


class EnvironmentReply(RecordReply):
    """Where a project is deployed to."""

    kind: Kind
    protected: bool


class ReleaseNew(Body):
    """A release to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"project": "shop", "name": "2.4.0"}]})

    project: ProjectOf = Field(description="Id or slug.")
    name: RecordName = Field(description="Its version, e.g. 2.4.0.")
    status: ReleaseStatus = "planned"
    notes: Notes = ""


class ReleaseChange(Body):
    """What to change. What is left out stays."""

    name: RecordName = ""
    status: ReleaseStatus = "planned"
    notes: Notes = ""


class ReleaseReply(RecordReply):
    """A version of a project's software; `name` is that version."""

    status: ReleaseStatus
    notes: str


class SprintNew(Body):
    """A sprint to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"project": "shop", "name": "12", "goal": "Checkout", "starts": "2026-03-02", "ends": "2026-03-13"}
            ]
        }
    )

    project: ProjectOf = Field(description="Id or slug.")
    name: RecordName
    goal: Notes = ""
    starts: date
    ends: date = Field(description="The last day.")


class SprintChange(Body):
    """What to change. What is left out stays."""

    name: RecordName = ""
    goal: Notes = ""
    starts: date = date.min
    ends: date = date.max


class SprintReply(RecordReply):
    """A stretch of time with a goal."""

    goal: str
    starts: date
    ends: date
