"""What goes in and out of this room over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from shopfloor.domain.approvals.models import Approval, ApprovalState
from shopfloor.infra.web.json_body import Body, Reply


class ApprovalReply(Reply):
    """One thing that somebody has to say yes to."""

    id: UUID
    project_id: UUID
    job_id: UUID
    kind: Literal["tool", "push"]
    scope: str = Field(description="Of a delegated agent: the tool calls that lead to it.")
    turn: int
    tool: str
    arguments: dict[str, Any] = Field(description="The exact call. It is the model's text: show it as text only.")
    summary: str
    state: ApprovalState
    remember: bool
    reason: str | None
    decided_by: UUID | None
    decided_by_name: str | None
    decided_at: datetime | None
    expires_at: datetime = Field(description="Then it counts as rejected, and the job goes on without it.")
    created_at: datetime


class Yes(Body):
    """An approval."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"remember": False}]})

    remember: bool = Field(default=False, description="The same call of this job is approved from now on.")
    reason: str | None = Field(default=None, max_length=1_000)


class No(Body):
    """A rejection."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Use the staging server."}]})

    reason: str | None = Field(default=None, max_length=1_000, description="The agent is told.")


def approval_reply(approval: Approval) -> ApprovalReply:
    """As it is served."""
    return ApprovalReply.model_validate(approval, from_attributes=True)
