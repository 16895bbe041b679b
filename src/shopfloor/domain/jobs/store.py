"""Every query of this room, inside the organization of the transaction's principal unless it says otherwise."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import UUID

from shopfloor.domain.jobs.errors import JobNotFound
from shopfloor.domain.jobs.models import Event, Job, Run, Step
from shopfloor.infra.json_column import jsonb, jsonb_or_null
from shopfloor.infra.tx import Tx

_JOB: LiteralString = (
    "id, organization_id, project_id, agent, task, repo_url, repo_ref, model, checks, limits, network, labels, "
    "environment, priority, mode, parent_id, fork_turn, state, waiting_reason, waiting_because, needs_nanos, "
    "admitted_at, not_before, cancel_requested_at, ending, verified, error, output, baseline, check_results, "
    "context_tokens, base_commit, base_bundle, result_commit, changes, patch_digest, push_branch, approvals, pushed, "
    "cost_nanos, held_nanos, unknown_nanos, usage, turns, runs, crashes, failures, spent_s, last_seq, version, "
    "created_by, created_at, updated_at, started_at, finished_at"
)
_RUN: LiteralString = "id, job_id, fence, worker, state, claimed_at, heartbeat_at, ended_at, ending, error, isolation"
_STEP: LiteralString = (
    "id, run_id, scope, turn, kind, key, name, state, attempt, request, result, effects, snapshot_sha, "
    "snapshot_digest, usage, cost_nanos, intended_at, done_at, done_seq"
)


async def job(tx: Tx, job_id: UUID) -> Job:
    """Raises: JobNotFound, also for another organization's."""
    row = await tx.values(f"select {_JOB} from jobs where id = %s", (job_id,))  # in the order of Job's fields
    if row is None:
        raise _missing(job_id)
    return Job(*row)


async def payer(tx: Tx, of: Job) -> tuple[UUID | None, UUID | None]:
    """The team of the job's project, and the person or service account that submitted it, also by a key."""
    row = await tx.one(
        "select p.team_id, coalesce((select u.id from users u where u.id = %(by)s), "
        "(select k.user_id from api_keys k where k.id = %(by)s)) as user_id from projects p where p.id = %(project)s",
        {"by": of.created_by, "project": of.project_id},
    )
    return (row["team_id"], row["user_id"]) if row else (None, None)


async def readable_job(tx: Tx, job_id: UUID) -> Job:
    """The job, if the principal may see its project; else the same answer as for one that isn't there."""
    found = await job(tx, job_id)
    if not tx.principal.allows("job.read", found.project_id):
        raise _missing(job_id)
    return found


async def lock_job(tx: Tx, job_id: UUID) -> Job:
    """The same, its row locked until the commit.

    Not `for update`: that would wait for every insert that refers to the job, and those wait for the row in turn.
    """
    row = await tx.one(f"select {_JOB} from jobs where id = %s for no key update", (job_id,))
    if row is None:
        raise _missing(job_id)
    return Job(**row)


def _missing(job_id: UUID) -> JobNotFound:
    return JobNotFound(f"There is no job {job_id} in your organization. `shopfloor job list` shows what there is.")


async def insert_job(tx: Tx, job_id: UUID, fields: dict[str, Any]) -> Job:
    """A new job in state queued. `fields` are columns; JSON ones are wrapped here."""
    json_columns = {"approvals", "limits", "labels", "environment", "output", "usage"}
    row = await tx.one(
        "insert into jobs (id, organization_id, project_id, agent, task, repo_url, repo_ref, model, checks, limits, "
        "network, labels, environment, priority, mode, parent_id, fork_turn, context_tokens, base_commit, base_bundle, "
        "push_branch, approvals, created_by) "
        "values (%(id)s, %(organization_id)s, %(project_id)s, %(agent)s, %(task)s, %(repo_url)s, %(repo_ref)s, "
        "%(model)s, %(checks)s, %(limits)s, %(network)s, %(labels)s, %(environment)s, %(priority)s, %(mode)s, "
        "%(parent_id)s, %(fork_turn)s, %(context_tokens)s, %(base_commit)s, %(base_bundle)s, "
        "%(push_branch)s, %(approvals)s, %(created_by)s) "
        f"returning {_JOB}",
        {
            "id": job_id,
            "organization_id": tx.organization_id,
            "created_by": tx.principal.id,
            **{name: jsonb(value) if name in json_columns else value for name, value in fields.items()},
        },
    )
    assert row is not None
    return Job(**row)


async def jobs(tx: Tx, *, filters: dict[str, Any], after: UUID | None, limit: int) -> list[Job]:
    """Newest first. Filters: state and project_id (lists), agent, parent_id, since, label (a dict)."""
    where: LiteralString = "organization_id = %(organization_id)s"
    for name, clause in _FILTERS.items():
        if filters.get(name) is not None:
            where += clause
    # The newest of each state and project, then the newest of those. Ranges and a whole order, not equality: they leave
    # the planner one index, which it reads from the cursor on; else it walks all jobs to find those of a rare state.
    lists: LiteralString = "(select 1) one"
    columns: LiteralString = ""
    wanted: LiteralString = ""
    newest: LiteralString = ""
    for name, each in _LISTS.items():
        if filters.get(name) is not None:
            lists += f" cross join unnest({each}) as wanted_{name}"
            columns += f"{name}, "
            wanted += f"wanted_{name}, "
            newest += f"{name} desc, "
            where += f" and {name} >= wanted_{name}"
    where += f" and ({columns}id) < ({wanted}%(after)s)"
    page: LiteralString = (
        f"select job.* from {lists} cross join lateral (select {_JOB} from jobs where {where} "
        f"order by {newest}id desc limit %(limit)s) job order by id desc limit %(limit)s"
    )
    parameters = {
        **filters,
        **{name: list(set(filters.get(name) or [])) for name in _LISTS},
        "organization_id": tx.organization_id,
        "label": jsonb_or_null(filters.get("label")),
        "after": after or _NEWEST,
        "limit": limit,
    }
    return [Job(**row) for row in await tx.all(page, parameters)]


async def jobs_by_ids(tx: Tx, job_ids: list[UUID]) -> list[Job]:
    """Those of these that the transaction sees, newest first."""
    rows = await tx.all(f"select {_JOB} from jobs where id = any(%s) order by id desc", (job_ids,))
    return [Job(**row) for row in rows]


_FILTERS: dict[str, LiteralString] = {
    "agent": " and agent = %(agent)s",
    "parent_id": " and parent_id = %(parent_id)s",
    "label": " and labels @> %(label)s",
    "since": " and created_at >= %(since)s",
}


_LISTS: dict[LiteralString, LiteralString] = {"project_id": "%(project_id)s::uuid[]", "state": "%(state)s::text[]"}
_NEWEST = UUID(int=2**128 - 1)


async def runs(tx: Tx, job_id: UUID) -> list[Run]:
    """Oldest first."""
    rows = await tx.all(f"select {_RUN} from runs where job_id = %s order by fence", (job_id,))
    return [Run(**row) for row in rows]


async def steps(tx: Tx, job_id: UUID, *, after: UUID | None = None, limit: int = 1_000_000) -> list[Step]:
    """In the order they were intended."""
    rows = await tx.all(
        f"select {_STEP} from steps where job_id = %s and (%s::uuid is null or id > %s) order by id limit %s",
        (job_id, after, after, limit),
    )
    return [Step(**row) for row in rows]


async def events(tx: Tx, job_id: UUID, *, after: int, limit: int) -> list[Event]:
    """With `seq > after`, in order."""
    rows = await tx.all(
        "select seq, kind, data, at from events where job_id = %s and seq > %s order by seq limit %s",
        (job_id, after, limit),
    )
    return [Event(**row) for row in rows]


async def calls(tx: Tx, job_id: UUID) -> list[dict[str, Any]]:
    """Each request to a provider, oldest first."""
    return await tx.all(
        "select turn, scope, attempt, model, state, bound_nanos, cost_nanos, usage, reason, held_at, ended_at "
        "from holds where job_id = %s order by id",
        (job_id,),
    )


async def last_answered_by(tx: Tx, job_id: UUID) -> str | None:
    """The model that gave the job's own agent its newest reply; None: there is none yet."""
    row = await tx.one(
        "select model from holds where job_id = %s and scope = '' and state = 'settled' order by id desc limit 1",
        (job_id,),
    )
    return None if row is None else row["model"]


async def snapshots(tx: Tx, job_id: UUID) -> list[tuple[str, str]]:
    """(commit, blob digest) of every snapshot of finished steps, oldest first: applied in order they make the tree."""
    rows = await tx.all(
        "select snapshot_sha, snapshot_digest from steps where job_id = %s and state = 'done' "
        "and snapshot_digest is not null order by done_seq",
        (job_id,),
    )
    return [(row["snapshot_sha"], row["snapshot_digest"]) for row in rows]


# A version 7 UUID with the time of the step it is copied from, and its place among those of the same millisecond.
_TIME_ORDERED: LiteralString = (
    "(substr(replace(id::text, '-', ''), 1, 12) || '7' || "
    "lpad(to_hex(row_number() over (order by id) %% 4096), 3, '0') || "
    "substr(replace(gen_random_uuid()::text, '-', ''), 17))::uuid"
)


async def copy_steps(tx: Tx, source: UUID, target: UUID, *, before_turn: int) -> int:
    """Give a fork everything its parent had finished before turn `before_turn`, at no cost; how many steps."""
    return await tx.execute(
        "insert into steps (id, organization_id, job_id, scope, turn, kind, key, name, state, attempt, request, "
        "result, effects, snapshot_sha, snapshot_digest, usage, cost_nanos, intended_at, done_at, done_seq) "
        f"select {_TIME_ORDERED}, organization_id, %(target)s, scope, turn, kind, key, name, state, attempt, request, "
        "result, effects, snapshot_sha, snapshot_digest, usage, 0, intended_at, done_at, "
        "row_number() over (order by done_seq) - 1000000000 "  # before every sequence the fork will have
        "from steps where job_id = %(source)s and state = 'done' and done_seq < coalesce("
        "(select min(done_seq) from steps where job_id = %(source)s and scope = '' and turn >= %(turn)s), 1e18)",
        {"source": source, "target": target, "turn": before_turn},
    )


async def last_turn(tx: Tx, job_id: UUID) -> int:
    """The newest turn whose model reply is recorded; 0 when there is none."""
    row = await tx.one(
        "select coalesce(max(turn), 0) as turn from steps where job_id = %s and scope = '' and kind = 'model' "
        "and state = 'done'",
        (job_id,),
    )
    assert row is not None
    return int(row["turn"])
