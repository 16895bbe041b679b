"""What people do to a job that is there: cancel, retry, fork, replay."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shopfloor.base.errors import InvalidInput
from shopfloor.base.ids import new_id
from shopfloor.domain.access import store as access
from shopfloor.domain.jobs import store
from shopfloor.domain.jobs.errors import JobEnded, TurnUnknown
from shopfloor.domain.jobs.events import JobFinished, emit
from shopfloor.domain.jobs.lifecycle import State, WaitingReason
from shopfloor.domain.jobs.models import Job
from shopfloor.domain.jobs.submit import Desk, check_limits, check_open, check_task
from shopfloor.infra.tx import Tx


async def cancel(tx: Tx, job_id: UUID) -> Job:
    """Cancel a job: at once where nothing runs; a running one is told, and ends within two seconds.

    Asking twice is fine. Raises: JobNotFound; JobEnded when it ended otherwise.
    """
    await store.readable_job(tx, job_id)
    job = await store.lock_job(tx, job_id)
    tx.require("job.cancel", job.project_id)
    if job.state == State.CANCELLED or (job.state == State.RUNNING and job.cancel_requested_at):
        return job
    if job.ended:
        raise JobEnded(f"The job has already ended: it is {job.state}. Ended jobs never change.", state=job.state)
    await tx.record("job.cancelled", "job", job_id, before={"state": job.state}, project_id=job.project_id)
    by = {"by": tx.principal.name}
    if job.state == State.RUNNING:
        await _touch(tx, job_id)
        await emit(tx, job_id, ("job.cancelling", by))
    else:
        await _touch(tx, job_id)
        await tx.execute(
            "update jobs set state = 'cancelled', ending = 'cancelled', waiting_reason = null, finished_at = now() "
            "where id = %s",
            (job_id,),
        )
        await emit(tx, job_id, ("job.cancelled", by))
        await tx.publish(JobFinished(tx.organization_id, job_id, State.CANCELLED.value))
    return await store.job(tx, job_id)


async def go_on(tx: Tx, job_id: UUID, why: str) -> bool:
    """Queue a job again that waits for an approval; False for one that doesn't, or not any more."""
    job = await store.lock_job(tx, job_id)
    if job.state != State.WAITING or job.waiting_reason != WaitingReason.APPROVAL:
        return False
    await tx.execute(
        "update jobs set state = 'queued', waiting_reason = null, admitted_at = null, not_before = null, "
        "updated_at = now(), version = version + 1 where id = %s",
        (job_id,),
    )
    await emit(tx, job_id, ("job.queued", {"why": why}))
    return True


async def cancel_open(tx: Tx, job_id: UUID) -> None:
    """As `cancel`, for the system's own reasons: a job that has ended meanwhile is left as it is."""
    if not (await store.lock_job(tx, job_id)).ended:
        await cancel(tx, job_id)


async def retry(tx: Tx, job_id: UUID) -> Job:
    """A new job that asks the same as an ended one, from the start. Raises: JobNotFound, JobEnded if it still runs."""
    return await _again(tx, await _ended(tx, job_id, "retried"), {"mode": "run", "fork_turn": None})


async def fork(tx: Tx, desk: Desk, job_id: UUID, *, before_turn: int, changes: dict[str, Any]) -> Job:
    """A new job that goes on from where another stood before turn `before_turn`, with a changed task, model, limits.

    What was finished before that turn is taken over and not paid again. Raises: JobNotFound, TurnUnknown.
    """
    parent = await store.readable_job(tx, job_id)
    tx.require("job.submit", parent.project_id)
    last = await store.last_turn(tx, job_id)
    if not 1 <= before_turn <= last + 1:
        raise TurnUnknown(
            f"Job {job_id} has the turns 1 to {last}; it can be forked before any of them or after the last one "
            f"(before_turn={last + 1}).",
            last_turn=last,
        )  # fmt: skip
    unknown = sorted(set(changes) - {"task", "model", "limits", "checks"})
    if unknown:
        raise InvalidInput(f"A fork can change task, model, limits and checks, not {', '.join(unknown)}.")
    if "model" in changes:
        changes = {**changes, "model": await desk.check_model(tx, changes["model"]), "context_tokens": None}
    if "task" in changes:
        check_task(changes["task"], desk.settings.task_bytes)
    if "limits" in changes:
        changes = {**changes, "limits": check_limits({**parent.limits, **changes["limits"]})}
    child = await _again(tx, parent, {"mode": "run", "fork_turn": before_turn, **changes})
    await store.copy_steps(tx, job_id, child.id, before_turn=before_turn)
    return child


async def replay(tx: Tx, job_id: UUID) -> Job:
    """A new job that runs an ended one again from its recorded model replies: no key, no model, no cost."""
    parent = await _ended(tx, job_id, "replayed")
    return await _again(tx, parent, {"mode": "replay", "fork_turn": None, "network": [], "push_branch": None})


async def _ended(tx: Tx, job_id: UUID, verb: str) -> Job:
    job = await store.readable_job(tx, job_id)
    tx.require("job.retry", job.project_id)
    if not job.ended:
        raise JobEnded(f"The job is {job.state}: only an ended job can be {verb}. Cancel it first.", state=job.state)
    return job


_SAME = (
    *("project_id", "agent", "task", "repo_url", "repo_ref", "model", "checks", "limits", "network", "labels"),
    *("environment", "priority", "context_tokens", "base_commit", "base_bundle", "push_branch", "approvals"),
)


async def _again(tx: Tx, parent: Job, changes: dict[str, Any]) -> Job:
    project = await access.project_by(tx, parent.project_id)
    assert project is not None  # a project with jobs can't be deleted
    check_open(project)
    fields = {name: getattr(parent, name) for name in _SAME} | {"parent_id": parent.id} | changes
    job = await store.insert_job(tx, new_id(), fields)
    told = {"agent": job.agent, "model": job.model, "by": tx.principal.name, "from": str(parent.id)}
    if job.fork_turn is not None:
        told["before_turn"] = str(job.fork_turn)
    await emit(tx, job.id, ("job.queued", told))
    what = "job.forked" if job.fork_turn is not None else "job.replayed" if job.mode == "replay" else "job.retried"
    after = {"from": parent.id, "agent": job.agent, "model": job.model, "before_turn": job.fork_turn, **_limited(job)}
    await tx.record(what, "job", job.id, after=after, project_id=job.project_id)
    return job


def _limited(job: Job) -> dict[str, Any]:
    return {"limits": job.limits, "network": job.network}


async def _touch(tx: Tx, job_id: UUID) -> None:
    await tx.execute(
        "update jobs set cancel_requested_at = coalesce(cancel_requested_at, now()), updated_at = now(), "
        "version = version + 1 where id = %s",
        (job_id,),
    )
