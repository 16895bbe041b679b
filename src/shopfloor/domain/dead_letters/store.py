"""Every query of this room, always inside the organization of the transaction's principal; the system's name one."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import UUID

from shopfloor.domain.dead_letters.models import DeadLetter, LetterState
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.tx import Tx

_ROW: LiteralString = (
    "id, project_id, kind, task, queue, job_id, task_id, reason, history, attempts, payload, struck_out, state, "
    "requeued_as, settled_by, settled_at, discard_reason, version, created_at"
)
_FILTERS: dict[str, LiteralString] = {
    "kind": " and kind = %(kind)s",
    "task": " and task = %(task)s",
    "project_id": " and project_id = %(project_id)s",
}


async def letters(
    tx: Tx, *, state: LetterState | None, filters: dict[str, Any], permission: str, before: UUID | None, limit: int
) -> list[DeadLetter]:
    """Newest first; to a principal limited to projects, only theirs. `filters`: kind, task, project_id."""
    where: LiteralString = "".join(text for name, text in _FILTERS.items() if filters.get(name) is not None)
    if state == "open":
        where += " and state = 'open'"  # as a constant: its index holds no others
    elif state is not None:
        where += " and state = %(state)s"
    mine = tx.projects_where(permission)
    rows = await tx.all(
        f"select {_ROW} from dead_letters where organization_id = %(organization_id)s "
        f"and (%(before)s::uuid is null or id < %(before)s) "
        f"and (%(mine)s::uuid[] is null or project_id = any(%(mine)s)){where} order by id desc limit %(limit)s",
        {
            **filters, "state": state, "organization_id": tx.organization_id, "mine": mine, "before": before,
            "limit": limit,
        },
    )  # fmt: skip
    return [DeadLetter(**row) for row in rows]


async def letter(tx: Tx, letter_id: UUID, *, lock: bool = False) -> DeadLetter | None:
    """By id; with `lock` nobody else settles it before the commit."""
    locked: LiteralString = " for update" if lock else ""
    row = await tx.one(f"select {_ROW} from dead_letters where id = %s{locked}", (letter_id,))
    return DeadLetter(**row) if row else None


async def settle(tx: Tx, of: DeadLetter, state: LetterState, *, requeued_as: str | None, reason: str | None) -> None:
    """Close an open letter that this transaction has locked."""
    await tx.execute(
        "update dead_letters set state = %s, requeued_as = %s, discard_reason = %s, settled_by = %s, "
        "settled_at = %s, version = version + 1 where id = %s",
        (state, requeued_as, reason, tx.principal.user_id or tx.principal.id, tx.clock.now(), of.id),
    )


async def add(tx: Tx, letter_id: UUID, organization_id: UUID, fields: dict[str, Any]) -> bool:
    """A new letter (a system transaction). False when the job or task has one already."""
    added = await tx.execute(
        "insert into dead_letters (id, organization_id, project_id, kind, task, queue, job_id, task_id, reason, "
        "history, attempts, payload, struck_out) values (%(id)s, %(organization_id)s, %(project_id)s, %(kind)s, "
        "%(task)s, %(queue)s, %(job_id)s, %(task_id)s, %(reason)s, %(history)s, %(attempts)s, %(payload)s, "
        "%(struck_out)s) on conflict do nothing",
        {
            **fields, "id": letter_id, "organization_id": organization_id, "reason": jsonb(fields["reason"]),
            "history": jsonb(fields["history"]), "payload": jsonb(fields["payload"]),
        },
    )  # fmt: skip
    return added == 1


async def tasks_given_up(tx: Tx, limit: int) -> list[dict[str, Any]]:
    """Of the queue, locked, oldest first (a system transaction); those that somebody else is at are passed over."""
    return await tx.all(
        "select id, task_name, queue_name, args, attempts, status::text as status from procrastinate_jobs "
        "where status in ('failed', 'aborted', 'cancelled') order by id limit %s for update skip locked",
        (limit,),
    )


async def forget_task(tx: Tx, task_id: int) -> None:
    """Off the queue, with what is known of its attempts (a system transaction)."""
    await tx.execute("delete from procrastinate_jobs where id = %s", (task_id,))
    await tx.execute("delete from task_failures where task_id = %s", (task_id,))


async def failures(tx: Tx, task_id: int) -> list[dict[str, Any]]:
    """What went wrong in each attempt that could say so, oldest first (a system transaction)."""
    return await tx.all(
        "select attempt, worker, at, error from task_failures where task_id = %s order by attempt", (task_id,)
    )


async def forget_old_failures(tx: Tx, limit: int) -> int:
    """Of tasks that succeeded in the end; how many (a system transaction)."""
    return await tx.execute(
        "delete from task_failures where ctid = any(array(select f.ctid from task_failures f where not exists "
        "(select from procrastinate_jobs j where j.id = f.task_id) limit %s))",
        (limit,),
    )


async def owner_of(tx: Tx, organization_id: UUID | None, job_id: UUID | None) -> tuple[UUID, UUID | None, UUID | None]:
    """(organization, project, job) that a task is about; the operator's organization for those of nobody (system)."""
    row = await tx.one(
        "select o.id as organization_id, j.project_id, j.id as job_id from organizations o "
        "left join jobs j on j.id = %s and j.organization_id = o.id "
        "where o.id = %s or o.operator order by (o.id = %s) desc nulls last limit 1",
        (job_id, organization_id, organization_id),
    )
    assert row is not None  # the first start makes the operator's organization
    return row["organization_id"], row["project_id"], row["job_id"]


async def dead_jobs(tx: Tx, limit: int) -> list[dict[str, Any]]:
    """Dead jobs without a letter, oldest first (a system transaction)."""
    return await tx.all(
        "select j.id, j.organization_id, j.project_id, j.agent, j.task, j.model, j.limits, j.repo_url, j.repo_ref, "
        "j.error, j.runs from jobs j where j.state = 'dead' and not exists "
        "(select from dead_letters l where l.job_id = j.id and l.kind = 'job') order by j.id limit %s",
        (limit,),
    )


async def last_runs(tx: Tx, job_id: UUID, limit: int) -> list[dict[str, Any]]:
    """The newest runs of a job, oldest first (a system transaction)."""
    rows = await tx.all(
        "select fence as attempt, worker, coalesce(ended_at, heartbeat_at) as at, ending, error from runs "
        "where job_id = %s order by fence desc limit %s",
        (job_id, limit),
    )
    return rows[::-1]
