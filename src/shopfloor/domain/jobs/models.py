"""The rows of this room, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shopfloor.domain.jobs.approval_rules import ApprovalRules
from shopfloor.domain.jobs.lifecycle import TERMINAL, State


class Limits(BaseModel):
    """What one job may use. A job without its own takes the project's, then these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost_nanos: int = Field(default=5_000_000_000, gt=0)
    turns: int = Field(default=100, ge=1, le=1_000)
    timeout_s: int = Field(default=3_600, ge=10, le=86_400)


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked, where it stands, what came of it."""

    id: UUID
    organization_id: UUID
    project_id: UUID
    agent: str
    task: str
    repo_url: str | None
    repo_ref: str | None
    model: str  # `provider/model`, fall-backs after commas
    checks: list[str] | None  # None: to be detected
    limits: dict[str, Any]
    network: list[str]
    labels: dict[str, str]
    environment: dict[str, Any]
    priority: int
    mode: str
    parent_id: UUID | None
    fork_turn: int | None
    state: str
    waiting_reason: str | None
    waiting_because: dict[str, Any] | None  # of the last wait: what happened, facts, what to do
    needs_nanos: int | None  # what its next call has to hold; of a job that waited for a budget and hasn't held since
    admitted_at: datetime | None
    not_before: datetime | None
    cancel_requested_at: datetime | None
    ending: str | None
    verified: bool | None
    error: dict[str, Any] | None
    output: dict[str, Any] | None
    baseline: list[dict[str, Any]] | None
    check_results: list[dict[str, Any]] | None
    context_tokens: int | None  # the model's window when the job first ran: a resumed or replayed run shortens alike
    base_commit: str | None
    base_bundle: str | None  # digest of the blob every run of this job starts from
    result_commit: str | None
    changes: list[dict[str, Any]] | None
    patch_digest: str | None
    push_branch: str | None  # where a verified result is pushed
    approvals: dict[str, Any]  # what people have to say yes to first: gate.py::ApprovalRules
    pushed: dict[str, Any] | None  # {branch, commit} or {branch, error}
    cost_nanos: int  # settled and unknown calls
    held_nanos: int
    unknown_nanos: int  # the part of cost_nanos that is booked at its bound
    usage: dict[str, int]
    turns: int
    runs: int  # how many runs there were; the newest run's fence
    crashes: int
    failures: int
    spent_s: float  # running time of the ended runs
    last_seq: int
    version: int
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether its state is terminal."""
        return State(self.state) in TERMINAL

    def rules(self) -> ApprovalRules:
        """What needs a person's yes, typed."""
        return ApprovalRules.model_validate(self.approvals)

    def limit(self) -> Limits:
        """Its limits, typed."""
        return Limits.model_validate(self.limits)


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt by one worker. Every journal write names it; once it isn't `running`, none goes through."""

    id: UUID
    job_id: UUID
    fence: int
    worker: str
    state: str
    claimed_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    ending: str | None
    error: dict[str, Any] | None
    isolation: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Step:
    """One journaled model reply or tool call."""

    id: UUID
    run_id: UUID | None  # None: taken over from the job this one was forked from
    scope: str
    turn: int
    kind: str
    key: str
    name: str
    state: str
    attempt: int
    request: dict[str, Any]
    result: dict[str, Any] | None
    effects: str
    snapshot_sha: str | None
    snapshot_digest: str | None
    usage: dict[str, int] | None
    cost_nanos: int
    intended_at: datetime
    done_at: datetime | None
    done_seq: int | None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a job's ordered stream."""

    seq: int
    kind: str
    data: dict[str, Any]
    at: datetime
