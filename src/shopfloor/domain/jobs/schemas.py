"""What goes in and out of this room over HTTP."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import ConfigDict, Field, StringConstraints

from shopfloor.base.money import NANOS_PER_USD, nanos_from_usd
from shopfloor.domain.access.project_settings import Approvals, Command, JobLimits, Place, stored_approvals
from shopfloor.domain.jobs.lifecycle import State
from shopfloor.domain.jobs.models import Event, Job, Run, Step
from shopfloor.domain.jobs.submit import Submission
from shopfloor.infra.web.json_body import Body, Reply
from shopfloor.infra.web.wording import worded

Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_LABEL = "Write 1 to 63 letters, digits, dots, underscores, slashes and hyphens, with a letter or digit first."
LabelName = Annotated[str, StringConstraints(pattern=worded(r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$", _LABEL))]
ModelText = Annotated[str, StringConstraints(min_length=3, max_length=1_000)]
_MAX_TASK_CHARS = 262_144  # the installation's own limit is in bytes, and tells more


class RepositoryRef(Body):
    """Where the files come from."""

    url: str = Field(min_length=8, max_length=2_048, description="https://..., of a host that is allowed.")
    ref: str | None = Field(
        default=None, min_length=1, max_length=255, description="Branch, tag or commit; null: the default branch."
    )


class JobSubmission(Body):
    """A task for an agent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "project": "default",
                    "agent": "coding",
                    "task": "The test test_refund fails. Find out why and fix the cause.",
                    "repo": {"url": "https://git.example.com/acme/payments.git", "ref": "main"},
                    "model": "anthropic/claude-sonnet-5",
                    "checks": ["pytest -q"],
                    "limits": {"cost_usd": "2.00", "turns": 60, "timeout_s": 1800},
                    "labels": {"ticket": "PAY-412"},
                }
            ]
        }
    )

    task: str = Field(min_length=1, max_length=8 * _MAX_TASK_CHARS, description="What is to be done, in your words.")
    project: str = Field(default="default", min_length=1, max_length=64, description="Slug or id.")
    agent: str | None = Field(default=None, min_length=1, max_length=100, description="Null: the project's default.")
    repo: RepositoryRef | None = Field(default=None, description="Left out: an empty workspace.")
    model: ModelText | None = Field(
        default=None, description="`provider/model`, fall-backs after commas; null: the project's default."
    )
    checks: list[Command] | None = Field(
        default=None, max_length=32, description="Commands that decide. Null: the project's, else detected. []: none."
    )
    limits: JobLimits = JobLimits()
    network: list[Place] | None = Field(
        default=None, max_length=100, description="Hosts the sandbox may reach, of those the project allows."
    )
    labels: dict[LabelName, Label] = Field(default={}, max_length=32)
    priority: int | None = Field(default=None, ge=-100, le=100, description="Higher goes first.")
    push_branch: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="A new branch that a result is pushed to unless its checks failed.",
    )
    approvals: Approvals | None = Field(
        default=None, description="What needs a person's yes, beside what the project asks for."
    )

    def as_submission(self) -> Submission:
        """As the verb takes it."""
        return Submission(
            task=self.task,
            project=self.project,
            agent=self.agent,
            repo_url=self.repo.url if self.repo else None,
            repo_ref=self.repo.ref if self.repo else None,
            model=self.model,
            checks=list(self.checks) if self.checks is not None else None,
            limits=stored_limits(self.limits),
            network=list(self.network) if self.network is not None else None,
            labels=dict(self.labels),
            priority=self.priority,
            push_branch=self.push_branch,
            approvals=stored_approvals(self.approvals),
        )


class ForkRequest(Body):
    """From where, and what is different."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"before_turn": 4, "model": "openai/gpt-6"}]})

    before_turn: int = Field(ge=1, le=100_000, description="What was finished before this turn is taken over.")
    task: str | None = Field(default=None, min_length=1, max_length=8 * _MAX_TASK_CHARS)
    model: ModelText | None = None
    checks: list[Command] | None = Field(default=None, max_length=32)
    limits: JobLimits | None = None

    def changes(self) -> dict[str, Any]:
        """Only what is to differ."""
        given = self.model_dump(exclude_none=True, exclude={"before_turn", "limits"})
        return given | ({"limits": stored_limits(self.limits)} if self.limits is not None else {})


class RetryRequest(Body):
    """How to do it again."""

    mode: Literal["run", "replay"] = Field(
        default="run", description="replay: from the recorded model replies, without a model and at no cost."
    )


class LimitsReply(Reply):
    """What the job may use."""

    cost_usd: Decimal
    turns: int
    timeout_s: int


class JobReply(Reply):
    """A job."""

    id: UUID
    project_id: UUID
    agent: str
    task: str
    repo: dict[str, str | None] | None
    model: str
    checks: list[str] | None = Field(description="Null until they are detected.")
    limits: LimitsReply
    network: list[str]
    labels: dict[str, str]
    priority: int
    mode: Literal["run", "replay"]
    parent_id: UUID | None = Field(description="The job it retries, replays or was forked from.")
    fork_turn: int | None
    state: State
    waiting_reason: str | None
    waiting_because: dict[str, Any] | None = Field(
        description="Why it last waited: what happened, facts such as the budget, its limit, what is spent and when it "
        "renews, and what to do."
    )
    not_before: datetime | None = Field(description="When a waiting or paused job is looked at again.")
    cancel_requested_at: datetime | None
    ending: str | None = Field(description="How it ended: finished, turn-limit, cost-limit, time-limit, stuck, ...")
    verified: bool | None = Field(
        description="True: the platform ran the checks on the result itself and they passed. Null: nothing to check."
    )
    error: dict[str, Any] | None
    output: dict[str, Any] | None = Field(description="The agent's own report. It is a claim, not evidence.")
    baseline: list[dict[str, Any]] | None = Field(description="How the checks did before the agent worked.")
    check_results: list[dict[str, Any]] | None = Field(description="How they do on the result, in a fresh sandbox.")
    base_commit: str | None
    result_commit: str | None
    changes: list[dict[str, Any]] | None = Field(description="The changed files, with lines added and deleted.")
    push_branch: str | None
    approvals: dict[str, Any] = Field(description="What needs a person's yes before it happens.")
    pushed: dict[str, Any] | None = Field(description="The branch and commit that were pushed, or why not.")
    cost_usd: Decimal = Field(description="Settled calls, and calls of unknown fate at the most they can have cost.")
    cost_nanos: int
    unknown_nanos: int = Field(description="The part of the cost whose calls' fate is unknown.")
    usage: dict[str, int] = Field(description="Tokens in disjoint classes, and requests.")
    turns: int
    runs: int
    crashes: int
    last_seq: int = Field(description="The newest event.")
    version: int
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


_OWN = frozenset({"repo", "limits", "cost_usd"})
_SAME = tuple(name for name in JobReply.model_fields if name not in _OWN)


class RunReply(Reply):
    """One attempt by one worker."""

    id: UUID
    fence: int
    worker: str
    state: str
    claimed_at: datetime
    ended_at: datetime | None
    ending: str | None
    error: dict[str, Any] | None
    isolation: dict[str, Any] | None


class StepReply(Reply):
    """One journaled model reply or tool call."""

    id: UUID
    run_id: UUID | None
    scope: str
    turn: int
    kind: Literal["model", "tool"]
    key: str
    name: str
    state: Literal["intended", "done", "unknown"]
    attempt: int
    request: dict[str, Any]
    result: dict[str, Any] | None
    effects: str
    snapshot_sha: str | None
    usage: dict[str, int] | None
    cost_nanos: int
    intended_at: datetime
    done_at: datetime | None


class EventReply(Reply):
    """One line of the job's ordered stream."""

    seq: int
    kind: str
    data: dict[str, Any]
    at: datetime


class EventsReply(Reply):
    """Events in order. Ask again with `after` set to the last `seq`; a terminal job has no more after `last_seq`."""

    items: list[EventReply]
    last_seq: int


class CallReply(Reply):
    """One request to a model provider."""

    turn: int
    scope: str
    attempt: int
    model: str
    state: Literal["held", "settled", "released", "unknown"]
    bound_nanos: int
    cost_nanos: int
    usage: dict[str, int] | None
    reason: str | None
    held_at: datetime
    ended_at: datetime | None


class UsageReply(Reply):
    """What the job has used, call by call."""

    cost_usd: Decimal
    cost_nanos: int
    held_nanos: int
    unknown_nanos: int
    usage: dict[str, int]
    calls: list[CallReply]


def stored_limits(limits: JobLimits) -> dict[str, Any]:
    """As the row has them: only what is given, money in nano-USD."""
    plain = limits.model_dump(exclude_none=True, exclude={"cost_usd"})
    return plain | ({"cost_nanos": nanos_from_usd(limits.cost_usd)} if limits.cost_usd is not None else {})


def job_reply(job: Job) -> JobReply:
    """A job as it is served."""
    limit = job.limit()
    return JobReply(
        **{name: getattr(job, name) for name in _SAME},
        repo={"url": job.repo_url, "ref": job.repo_ref} if job.repo_url else None,
        limits=LimitsReply(cost_usd=usd(limit.cost_nanos), turns=limit.turns, timeout_s=limit.timeout_s),
        cost_usd=usd(job.cost_nanos),
    )


def job_json(job: Job) -> bytes:
    """`job_reply` as JSON, for a fifth of the time: the row comes out of our own tables and needs no second check."""
    limit = job.limit()
    return orjson.dumps(
        {name: getattr(job, name) for name in _SAME}
        | {
            "repo": {"url": job.repo_url, "ref": job.repo_ref} if job.repo_url else None,
            "limits": {"cost_usd": usd(limit.cost_nanos), "turns": limit.turns, "timeout_s": limit.timeout_s},
            "cost_usd": usd(job.cost_nanos),
        },
        default=str,  # money
        option=orjson.OPT_UTC_Z,
    )


def run_reply(run: Run) -> RunReply:
    """A run as it is served."""
    return RunReply.model_validate(run)


def step_reply(step: Step) -> StepReply:
    """A step as it is served."""
    return StepReply.model_validate(step)


def event_reply(event: Event) -> EventReply:
    """An event as it is served."""
    return EventReply.model_validate(event)


def usd(nanos: int) -> Decimal:
    """Nano-USD as USD, exactly."""
    return Decimal(nanos) / NANOS_PER_USD
