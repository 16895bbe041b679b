"""What goes in and out of this room over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from shopfloor.domain.access.project_settings import JobLimits
from shopfloor.domain.dead_letters.bulk import MOST, Settled
from shopfloor.domain.dead_letters.models import DeadLetter, Kind, LetterState
from shopfloor.domain.dead_letters.settle import Changes, Filters
from shopfloor.domain.jobs.schemas import ModelText, stored_limits
from shopfloor.infra.web.json_body import Body, Reply

Why = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
TaskName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Argument = str | int | float | bool | None


class FailureReply(Reply):
    """What went wrong."""

    code: str
    title: str
    detail: str


class AttemptReply(Reply):
    """One attempt."""

    attempt: int = Field(description="Counted from 1; of a job the number of its run.")
    worker: str = Field(description="Empty where it died without a word.")
    at: datetime
    error: FailureReply


class DeadLetterSummary(Reply):
    """A job or a task that the platform has given up."""

    id: UUID
    kind: Kind
    task: str = Field(description="The task's name on the queue; of a job `jobs.run`.")
    state: LetterState
    project_id: UUID | None
    job_id: UUID | None = Field(description="The job, or the one that the task is about.")
    reason: FailureReply
    attempts: int
    requeued_as: str | None = Field(description="The new job's id, or the task's new number.")
    settled_by: UUID | None
    settled_at: datetime | None
    discard_reason: str | None
    version: int
    created_at: datetime


class DeadLetterReply(DeadLetterSummary):
    """The same with all that is known."""

    payload: dict[str, Any] = Field(description="A task's arguments, or what a job asked for. Secrets are struck out.")
    struck_out: bool = Field(description="Whether any were.")
    history: list[AttemptReply] = Field(description="Oldest first; of a job its newest 50 runs.")


class RequeueRequest(Body):
    """How to try it again. Nothing given: the same."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    model: ModelText | None = Field(default=None, description="Of a job: another model.")
    limits: JobLimits | None = Field(default=None, description="Of a job: other limits.")
    arguments: dict[str, Argument] | None = Field(
        default=None, max_length=50, description="Of a task: those that are to be different."
    )

    def changes(self) -> Changes:
        """As the verb takes them."""
        job: dict[str, Any] = {}
        if self.model is not None:
            job["model"] = self.model
        if self.limits is not None:
            job["limits"] = stored_limits(self.limits)
        return Changes(job, dict(self.arguments or {}))


class DiscardRequest(Body):
    """Why it is never tried again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "The address no longer exists."}]})

    reason: Why


class LetterFilter(Body):
    """Which open letters."""

    kind: Kind | None = None
    task: TaskName | None = None
    project: str | None = Field(default=None, max_length=64, description="Slug or id.")

    def as_filters(self) -> Filters:
        """As the verb takes them."""
        return Filters(self.kind, self.task, self.project)


class Which(Body):
    """Some letters: by id, or the newest open ones that fit a filter."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"filter": {"kind": "task"}}]})

    ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MOST)
    filter: LetterFilter | None = Field(default=None, description=f"At most {MOST} a request; `{{}}`: any.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Which:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("name either ids or a filter")
        return self

    def which(self) -> list[UUID] | Filters:
        """As the verb takes them."""
        if self.ids is not None:
            return self.ids
        assert self.filter is not None
        return self.filter.as_filters()


class DiscardMany(Which):
    """The same, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"filter": {"kind": "task"}, "reason": "Outdated."}]})

    reason: Why


class RefusedReply(Reply):
    """A letter that stays as it is, and why."""

    id: UUID
    code: str
    detail: str


class SettledReply(Reply):
    """What became of each."""

    done: list[DeadLetterSummary]
    refused: list[RefusedReply]
    more: bool = Field(description="More may fit the filter: ask again.")


def summary(letter: DeadLetter) -> DeadLetterSummary:
    """As a list shows it."""
    return DeadLetterSummary(**_fields(letter, DeadLetterSummary))


def letter_reply(letter: DeadLetter) -> DeadLetterReply:
    """As HTTP shows it."""
    return DeadLetterReply(**_fields(letter, DeadLetterReply))


def settled_reply(settled: Settled) -> SettledReply:
    """As HTTP shows it."""
    refused = [
        RefusedReply(id=each.letter_id, code=each.error.code(), detail=each.error.detail) for each in settled.refused
    ]
    return SettledReply(done=[summary(letter) for letter in settled.done], refused=refused, more=settled.more)


def _fields(letter: DeadLetter, shape: type[Reply]) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in shape.model_fields}
