"""From a submission to a queued job: may they, does it hold together, store it, say so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from shopfloor.base.errors import InvalidInput
from shopfloor.base.ids import new_id, parse_id
from shopfloor.domain.access import store as access
from shopfloor.domain.access.models import Project
from shopfloor.domain.jobs import store
from shopfloor.domain.jobs.approval_rules import merged
from shopfloor.domain.jobs.errors import IdempotencyKeyReused, ProjectClosed, ProjectOutOfReach
from shopfloor.domain.jobs.events import emit
from shopfloor.domain.jobs.models import Job, Limits
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.infra.json_column import jsonb, storable
from shopfloor.infra.tx import Tx

_SEES = ("project.read", "job.read", "job.submit")  # whoever has one of them may know that the project is there


@dataclass(frozen=True, slots=True)
class Submission:
    """What is asked. None means: the project's default, else the installation's."""

    task: str
    project: str = "default"  # slug or id
    agent: str | None = None
    repo_url: str | None = None  # None: an empty workspace
    repo_ref: str | None = None
    model: str | None = None
    checks: list[str] | None = None
    limits: dict[str, Any] = field(default_factory=dict[str, Any])
    network: list[str] | None = None
    labels: dict[str, str] = field(default_factory=dict[str, str])
    priority: int | None = None
    push_branch: str | None = None  # push a verified result there
    approvals: dict[str, Any] = field(default_factory=dict[str, Any])  # beside what the project asks for
    bundle: tuple[str, str] | None = None  # (commit, blob digest): the tree a local CLI brought along


@dataclass(frozen=True, slots=True)
class Desk:
    """What submission checks against. One a process."""

    settings: JobsSettings
    agents: Callable[[], list[str]]
    check_model: Callable[[Tx, str], Awaitable[str]]  # profiles as models; raises for one unknown or without a price
    check_repository: Callable[[str, list[str]], None]  # URL, the project's hosts; raises for one that isn't allowed
    agent_model: Callable[[str], str | None] = lambda _: None  # what an agent's own spec asks for, if it does


async def submit(tx: Tx, desk: Desk, submission: Submission, *, idempotency_key: str | None = None) -> tuple[Job, bool]:
    """The queued job, and whether it is new (False: this Idempotency-Key made it within the last 24 hours).

    Raises: ProjectOutOfReach, ProjectClosed, IdempotencyKeyReused, InvalidInput, PermissionDenied.
    """
    _check_text(submission)
    project = await _project(tx, submission.project)
    tx.require("job.submit", project.id)
    digest = _digest(submission)
    if idempotency_key is not None:
        known = await _known(tx, idempotency_key, digest)
        if known is not None:
            return await store.job(tx, known), False
    job_id = new_id()
    if idempotency_key is not None and not await _remember(tx, idempotency_key, digest, job_id):
        # Another request with this key was faster; ours waited for its commit in the insert.
        known = await _known(tx, idempotency_key, digest)
        assert known is not None
        return await store.job(tx, known), False
    job = await store.insert_job(tx, job_id, await _fields(tx, desk, project, submission))
    await emit(tx, job.id, ("job.queued", {"agent": job.agent, "model": job.model, "by": tx.principal.name}))
    asked = (
        "agent",
        "model",
        "repo_url",
        "repo_ref",
        "checks",
        "limits",
        "network",
        "labels",
        "push_branch",
        "approvals",
    )
    after = {name: getattr(job, name) for name in asked}  # the task itself stays in the job
    await tx.record("job.submitted", "job", job.id, after=after, project_id=project.id)
    return job, True


async def _project(tx: Tx, name: str) -> Project:
    project = await access.project_by(tx, parse_id(name) or name)
    if project is None or not any(tx.principal.allows(permission, project.id) for permission in _SEES):
        raise ProjectOutOfReach(f"There is no project {name!r} in your organization, or none you may submit to.")
    check_open(project)
    return project


def check_open(project: Project) -> None:
    """Raises: ProjectClosed unless the project takes new jobs."""
    if project.status != "active":
        raise ProjectClosed(f"The project {project.slug} is {project.status}: it takes no new jobs until it is active.")


async def _fields(tx: Tx, desk: Desk, project: Project, submission: Submission) -> dict[str, Any]:
    """The job's columns: what was asked, over the project's defaults, over the installation's."""
    defaults = project.settings
    agent = submission.agent or defaults.get("agent") or desk.settings.default_agent
    if agent not in desk.agents():
        raise InvalidInput(f"There is no agent {agent!r}. There are: {', '.join(desk.agents())}.", agent=agent)
    model = submission.model or defaults.get("model") or desk.agent_model(agent) or desk.settings.default_model
    if model is None:
        raise InvalidInput(
            "No model is named, and neither the project, the agent nor SHOPFLOOR_JOBS__DEFAULT_MODEL has one. "
            "Name one, e.g. anthropic/claude-sonnet-5."
        )
    model = await desk.check_model(tx, model)
    if submission.repo_url is not None:
        desk.check_repository(submission.repo_url, defaults.get("repository_hosts", []))
    limits = {**desk.settings.default_limits.model_dump(), **defaults.get("limits", {}), **submission.limits}
    commit, bundle = submission.bundle or (None, None)
    return {
        "project_id": project.id,
        "agent": agent,
        "task": check_task(submission.task, desk.settings.task_bytes),
        "repo_url": submission.repo_url,
        "repo_ref": submission.repo_ref,
        "model": model,
        "checks": submission.checks if submission.checks is not None else defaults.get("checks"),
        "limits": check_limits(limits),
        "approvals": merged(defaults.get("approvals", {}), submission.approvals),
        "network": _network(submission.network, defaults.get("network", [])),
        "labels": submission.labels,
        "environment": defaults.get("environment", {}),
        "priority": project.priority if submission.priority is None else submission.priority,
        "mode": "run",
        "parent_id": None,
        "fork_turn": None,
        "context_tokens": None,
        "base_commit": commit,
        "base_bundle": bundle,
        "push_branch": submission.push_branch,
    }


def check_limits(limits: dict[str, Any]) -> dict[str, Any]:
    """The limits, whole and within their bounds. Raises: InvalidInput."""
    try:
        return Limits.model_validate(limits).model_dump()
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise InvalidInput(f"The limits do not hold together: {wrong}.") from error


def _check_text(submission: Submission) -> None:
    """Raises: InvalidInput for characters that can't be stored: NUL and broken surrogates."""
    labels = [text for label in submission.labels.items() for text in label]
    named = [submission.task, submission.project, submission.agent, submission.model, submission.repo_ref]
    named += [submission.repo_url, submission.push_branch]
    for text in (*named, *(submission.checks or []), *(submission.network or []), *labels):
        if text is not None:
            _check_storable(text)


def _check_storable(text: str) -> None:
    if storable(text) != text:
        raise InvalidInput("The job holds a NUL character or half a surrogate pair: take it out and send it again.")


def check_task(text: str, most_bytes: int) -> str:
    """The task as it is. Raises: InvalidInput when it is empty or too long."""
    _check_storable(text)
    size = len(text.encode("utf-8", "replace"))
    if not text.strip():
        raise InvalidInput("The task is empty: say in a sentence or more what is to be done.")
    if size > most_bytes:
        raise InvalidInput(
            f"The task is {size:,} bytes long, {most_bytes:,} are allowed. Put long material into the repository and "
            "name the file in the task.",
            size_bytes=size, limit_bytes=most_bytes,
        )  # fmt: skip
    return text


def _network(asked: list[str] | None, allowed: list[str]) -> list[str]:
    """A job may ask for less network than its project allows, never for more."""
    if asked is None:
        return allowed
    beyond = sorted(set(asked) - set(allowed))
    if beyond:
        raise InvalidInput(
            f"The project does not allow the network places {', '.join(beyond)}. Someone with project.edit can add "
            "them to the project's `network` setting."
        )
    return asked


async def _known(tx: Tx, key: str, digest: bytes) -> UUID | None:
    row = await tx.one(
        "select request_digest, body from idempotency_keys where principal_id = %s and route = 'jobs' and key = %s",
        (tx.principal.id, key),
    )
    if row is None:
        return None
    if row["request_digest"] != digest:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for a job with other parameters. Use a new key for a new job."
        )
    return UUID(row["body"]["job_id"])


async def _remember(tx: Tx, key: str, digest: bytes, job_id: UUID) -> bool:
    added = await tx.execute(
        "insert into idempotency_keys (organization_id, principal_id, route, key, request_digest, status, body) "
        "values (%s, %s, 'jobs', %s, %s, 202, %s) on conflict do nothing",
        (tx.organization_id, tx.principal.id, key, digest, jsonb({"job_id": str(job_id)})),
    )
    return added == 1


def _digest(submission: Submission) -> bytes:
    # Only what differs from the default: a field that a newer version adds doesn't change the digest of old requests.
    fields = {
        each.name: value
        for each in dataclass_fields(Submission)
        if (value := getattr(submission, each.name)) not in (each.default, {})
    }
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).digest()
