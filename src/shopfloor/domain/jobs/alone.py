"""One job, taken by a worker that is there for it alone: `shopfloor run` touches no other job of its data folder."""

from __future__ import annotations

from uuid import UUID

from shopfloor.domain.jobs.dispatch import ADMISSION_LOCK
from shopfloor.infra.tx import Tx


async def admit_alone(tx: Tx, job_id: UUID) -> UUID | None:
    """Admit this job without the queue (a system transaction); its organization, or None: not now, or it is taken.

    The bounds of project and organization hold, counted by what runs: with no other worker about, jobs that were
    admitted before it would keep it waiting for ever. What is on the queue stays there, for the workers to come.
    """
    if not await tx.one("select 1 where pg_try_advisory_xact_lock(%s)", (ADMISSION_LOCK,)):
        return None  # somebody else admits at this moment: asked again soon
    row = await tx.one(_ALONE, (job_id,))
    return row["organization_id"] if row else None


_ALONE = """
update jobs j set admitted_at = coalesce(j.admitted_at, now()), updated_at = now(), version = j.version + 1
from projects p, organizations o
where j.id = %s and j.state = 'queued' and (j.not_before is null or j.not_before <= now())
  and p.id = j.project_id and o.id = j.organization_id and (j.admitted_at is not null or (
    p.status = 'active'
    and (select count(*) from jobs r where r.project_id = p.id and r.state = 'running') < p.max_running_jobs
    and (select count(*) from jobs r where r.organization_id = o.id and r.state = 'running') < o.max_running_jobs))
returning j.organization_id
"""
