"""Where letters come from: tasks that the queue has given up, and jobs that are dead. Each exactly once.

A task leaves the queue's table in the transaction that adds its letter: killed in between, neither has happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import structlog

from shopfloor.base.errors import Unavailable
from shopfloor.base.ids import new_id, parse_id
from shopfloor.domain.dead_letters import metrics, store
from shopfloor.domain.dead_letters.events import DeadLetterAdded
from shopfloor.domain.jobs.dispatch import RUN_TASK
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.task_failures import UNRECORDED, WORKER_LOST
from shopfloor.infra.tx import Store, Tx, begin_system

log = structlog.get_logger(__name__)

_LOOK_S = 5.0
_TIDY_S = 600.0
_AT_ONCE = 50
_OLD_AT_ONCE = 1_000
_MOST_RUNS = 50  # of a job's history
_MOST_TASK_CHARS = 2_000


async def run(kept: Store) -> None:
    """Collect until cancelled. A database that is away is waited for."""
    clock = kept.services.clock
    tidied_at = clock.monotonic()
    while True:
        try:
            await collect(kept)
            if clock.monotonic() - tidied_at > _TIDY_S:
                tidied_at = clock.monotonic()
                async with begin_system(kept) as tx:
                    await store.forget_old_failures(tx, _OLD_AT_ONCE)
        except Unavailable as error:
            log.warning("dead_letters.waits", error=error.detail)
        await clock.sleep(_LOOK_S)


async def collect(kept: Store) -> int:
    """Make a letter of everything that was given up; how many. Several processes at once share the work."""
    added = 0
    while True:
        async with begin_system(kept) as tx:
            tasks = await store.tasks_given_up(tx, _AT_ONCE)
            for task in tasks:
                added += await _of_task(tx, task)
            jobs = await store.dead_jobs(tx, _AT_ONCE)
            for job in jobs:
                added += await _of_job(tx, job)
            await metrics.count_open(tx)
        if len(tasks) < _AT_ONCE and len(jobs) < _AT_ONCE:
            return added


async def _of_task(tx: Tx, task: dict[str, Any]) -> bool:
    if task["task_name"] == RUN_TASK or task["status"] == "cancelled":
        await store.forget_task(tx, task["id"])  # a job that nobody claimed is admitted again (jobs/dispatch.py)
        return False
    history = [_line(each) for each in await store.failures(tx, task["id"])]
    last = history[-1] if history else None
    reason = last["error"] if last is not None and last["attempt"] == task["attempts"] else UNRECORDED
    arguments = cast("dict[str, Any]", task["args"])
    payload = REDACTOR.value(arguments)
    organization_id, project_id, job_id = await store.owner_of(
        tx, _id(arguments, "organization_id"), _id(arguments, "job_id")
    )
    fields = {
        "kind": "task", "task": task["task_name"], "queue": task["queue_name"], "task_id": task["id"],
        "job_id": job_id, "project_id": project_id, "reason": reason, "history": history,
        "attempts": task["attempts"], "payload": payload, "struck_out": payload != arguments,
    }  # fmt: skip
    added = await _add(tx, organization_id, fields)
    await store.forget_task(tx, task["id"])
    return added


async def _of_job(tx: Tx, job: dict[str, Any]) -> bool:
    asked = {name: job[name] for name in ("agent", "model", "limits", "repo_url", "repo_ref")}
    payload = REDACTOR.value({**asked, "task": job["task"][:_MOST_TASK_CHARS]})
    runs = await store.last_runs(tx, job["id"], _MOST_RUNS)
    fields = {
        "kind": "job", "task": RUN_TASK, "queue": "jobs", "task_id": None, "job_id": job["id"],
        "project_id": job["project_id"], "reason": _short(job["error"] or UNRECORDED),
        "history": [_line({**run, "error": _error_of(run)}) for run in runs], "attempts": job["runs"],
        "payload": payload, "struck_out": False,
    }  # fmt: skip
    return await _add(tx, job["organization_id"], fields)


async def _add(tx: Tx, organization_id: UUID, fields: dict[str, Any]) -> bool:
    letter_id, project_id = new_id(), fields["project_id"]
    if not await store.add(tx, letter_id, organization_id, fields):
        return False
    about = {"kind": fields["kind"], "task": fields["task"], "code": fields["reason"].get("code", "")}
    await tx.record(
        "deadletter.added", "dead-letter", letter_id, after=about, project_id=project_id,
        organization_id=organization_id,
    )  # fmt: skip
    await tx.publish(
        DeadLetterAdded(organization_id, letter_id, fields["kind"], fields["task"], project_id, fields["job_id"])
    )
    tx.after_commit(lambda: metrics.ADDED.labels(fields["kind"]).inc())
    log.error("dead_letter.added", letter_id=str(letter_id), job_id=str(fields["job_id"] or ""), **about)
    return True


def _error_of(run: Mapping[str, Any]) -> dict[str, Any]:
    if run["error"] is not None:
        return _short(run["error"])
    return WORKER_LOST if run["ending"] == "lost" else {"code": run["ending"] or "", "title": "", "detail": ""}


def _short(error: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: error.get(name, "") for name in ("code", "title", "detail")}
    return cast("dict[str, Any]", REDACTOR.value(found))


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    at: datetime = row["at"]
    return {"attempt": row["attempt"], "worker": row["worker"], "at": at.isoformat(), "error": row["error"]}


def _id(arguments: Mapping[str, Any], name: str) -> UUID | None:
    return parse_id(str(arguments.get(name) or ""))
