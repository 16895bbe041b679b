"""Every query of this room, always inside the organization of the transaction's principal.

Whose project an artifact belongs to stands in the row its foreign key points to: the job's.
"""

from __future__ import annotations

from uuid import UUID

from shopfloor.domain.artifacts.models import Artifact
from shopfloor.infra.tx import Tx

_ARTIFACT = "a.id, a.job_id, a.run_id, a.name, a.media_type, a.digest, a.size_bytes, a.created_at"


async def add(tx: Tx, new: Artifact) -> None:
    """Once: a second time changes nothing."""
    await tx.execute(
        "insert into artifacts (id, organization_id, job_id, run_id, name, media_type, digest, size_bytes) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (id) do nothing",
        (
            new.id, tx.organization_id, new.job_id, new.run_id, new.name, new.media_type, new.digest, new.size_bytes,
        ),
    )  # fmt: skip


async def artifact(tx: Tx, artifact_id: UUID) -> Artifact | None:
    """By id, if the principal may see its job's project."""
    mine = _mine(tx)
    row = await tx.one(
        f"select {_ARTIFACT} from artifacts a join jobs j on j.id = a.job_id "
        "where a.id = %s and (%s::uuid[] is null or j.project_id = any(%s))",
        (artifact_id, mine, mine),
    )
    return Artifact(**row) if row else None


async def has_job(tx: Tx, job_id: UUID) -> bool:
    """Whether the job is there, and in a project the principal may see."""
    mine = _mine(tx)
    row = await tx.one(
        "select 1 from jobs where id = %s and (%s::uuid[] is null or project_id = any(%s))", (job_id, mine, mine)
    )
    return row is not None


async def artifacts(tx: Tx, job_id: UUID, *, after: UUID | None, limit: int) -> list[Artifact]:
    """A job's, oldest first."""
    rows = await tx.all(
        f"select {_ARTIFACT} from artifacts a where a.organization_id = %s and a.job_id = %s "
        "and (%s::uuid is null or a.id > %s) order by a.id limit %s",
        (tx.organization_id, job_id, after, after, limit),
    )
    return [Artifact(**row) for row in rows]


def _mine(tx: Tx) -> list[UUID] | None:
    return tx.projects_where("artifact.read")
