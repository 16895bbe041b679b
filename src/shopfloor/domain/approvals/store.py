"""Every query of this room, inside the organization of the transaction's principal unless it says otherwise."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from shopfloor.domain.approvals.models import Approval
from shopfloor.domain.jobs.gate import Asked
from shopfloor.domain.jobs.lease import Lease
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.tx import Tx

_APPROVAL: LiteralString = (
    "id, project_id, job_id, kind, scope, turn, tool, arguments, summary, state, remember, reason, decided_by, "
    "decided_by_name, decided_at, expires_at, created_at"
)


async def add(tx: Tx, approval_id: UUID, lease: Lease, asked: Asked, digest: bytes, expires_at: datetime) -> bool:
    """False when it has been asked before."""
    added = await tx.execute(
        "insert into approvals (id, organization_id, project_id, job_id, run_id, kind, scope, turn, key, tool, "
        "arguments, digest, summary, expires_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "on conflict (job_id, kind, scope, turn, key) do nothing",
        (
            approval_id, tx.organization_id, lease.job.project_id, lease.job_id, lease.run_id, asked.kind, asked.scope,
            asked.turn, asked.key, asked.tool, jsonb(asked.arguments), digest, asked.summary(), expires_at,
        ),
    )  # fmt: skip
    return added == 1


async def asked_before(tx: Tx, job_id: UUID, asked: Asked) -> Approval | None:
    """The same call, asked by an earlier run."""
    row = await tx.one(
        f"select {_APPROVAL} from approvals where job_id = %s and kind = %s and scope = %s and turn = %s and key = %s",
        (job_id, asked.kind, asked.scope, asked.turn, asked.key),
    )
    return Approval(**row) if row else None


async def remembered(tx: Tx, job_id: UUID, digest: bytes) -> bool:
    """Whether somebody approved the same tool and arguments of this job, to be remembered."""
    row = await tx.one(
        "select 1 from approvals where job_id = %s and digest = %s and state = 'approved' and remember limit 1",
        (job_id, digest),
    )
    return row is not None


async def lock_pending(tx: Tx, job_id: UUID) -> bool:
    """Whether the job has something unanswered; it stays so until the commit."""
    rows = await tx.all(
        "select id from approvals where job_id = %s and state = 'pending' order by id for no key update", (job_id,)
    )
    return bool(rows)


async def approval(tx: Tx, approval_id: UUID, *, lock: bool = False) -> Approval | None:
    """By id."""
    row = await tx.one(
        f"select {_APPROVAL} from approvals where id = %s" + (" for no key update" if lock else ""), (approval_id,)
    )
    return Approval(**row) if row else None


async def approvals(
    tx: Tx, *, filters: dict[str, Any], project_ids: list[UUID] | None, before: UUID | None, limit: int
) -> list[Approval]:
    """Newest first. Filters: state, job_id. `project_ids` None: of every project."""
    where: LiteralString = "organization_id = %(organization_id)s"
    if filters.get("state") is not None:
        where += " and state = %(state)s"
    if filters.get("job_id") is not None:
        where += " and job_id = %(job_id)s"
    if project_ids is not None:
        where += " and project_id = any(%(project_ids)s)"
    if before is not None:
        where += " and id < %(before)s"
    rows = await tx.all(
        f"select {_APPROVAL} from approvals where {where} order by id desc limit %(limit)s",
        {
            **filters, "organization_id": tx.organization_id, "project_ids": project_ids, "before": before,
            "limit": limit,
        },
    )  # fmt: skip
    return [Approval(**row) for row in rows]


async def decide(
    tx: Tx, approval_id: UUID, state: str, *, remember: bool, reason: str | None, by: tuple[UUID | None, str | None]
) -> bool:
    """False when it isn't pending any more."""
    changed = await tx.execute(
        "update approvals set state = %s, remember = %s, reason = %s, decided_by = %s, decided_by_name = %s, "
        "decided_at = now() where id = %s and state = 'pending'",
        (state, remember, reason, *by, approval_id),
    )
    return changed == 1


async def withdraw(tx: Tx, job_id: UUID) -> int:
    """What a job that has ended asked for needs no answer."""
    return await tx.execute(
        "update approvals set state = 'withdrawn', decided_at = now(), reason = 'the job has ended' "
        "where job_id = %s and state = 'pending'",
        (job_id,),
    )


async def due(tx: Tx, limit: int) -> list[tuple[UUID, UUID]]:
    """(organization, approval) of what nobody has answered in time, across organizations."""
    rows = await tx.all(
        "select organization_id, id from approvals where state = 'pending' and expires_at <= now() "
        "order by expires_at limit %s",
        (limit,),
    )
    return [(row["organization_id"], row["id"]) for row in rows]


async def submitter_of(tx: Tx, job_id: UUID) -> UUID | None:
    """The person behind a job: its submitter, or whose key submitted it."""
    row = await tx.one(
        "select coalesce((select k.user_id from api_keys k where k.id = j.created_by), j.created_by) as id "
        "from jobs j where j.id = %s",
        (job_id,),
    )
    return row["id"] if row else None
