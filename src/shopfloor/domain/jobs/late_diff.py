"""The diff of a job that ended while no worker had it: made afterwards, from the snapshots that are stored."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.jobs import store
from shopfloor.domain.jobs.bench import Bench
from shopfloor.domain.jobs.events import JobFinished
from shopfloor.domain.jobs.keep import Keeper
from shopfloor.domain.jobs.lease import Lease, worker_principal
from shopfloor.domain.jobs.tree import changes_of, open_tree
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.tx import Tx, perform

TASK = "jobs.late_diff"


def arguments_of(event: JobFinished) -> dict[str, Any]:
    """What the task is called with, after every job that ended: most have their diff already."""
    return {"job_id": str(event.job_id), "organization_id": str(event.organization_id)}


async def make_late_diff(bench: Bench, job_id: UUID, organization_id: UUID) -> None:
    """The queue's task. Doing it again changes nothing; the job's state never changes."""
    principal = worker_principal(organization_id, "late diff")
    job = await perform(bench.store, principal, lambda tx: store.job(tx, job_id))
    if not job.ended or job.base_bundle is None or job.patch_digest is not None:
        return
    lease = Lease(new_id(), job, job.runs, principal)  # of no run: nothing that needs one is written
    folder = bench.work_dir / str(lease.run_id)
    folder.mkdir(mode=0o700, parents=True)
    try:
        tree = await open_tree(
            bench.store,
            lease,
            git=bench.git,
            cache=bench.cache,
            blobs=bench.blobs,
            folder=folder,
            credentials_of=bench.credentials_of,
        )
        found = await tree.diff(max_patch_bytes=bench.settings.patch_bytes)
        digest, size_bytes = await tree.save_patch()

        async def keep(tx: Tx) -> None:
            await tx.execute(
                "update jobs set result_commit = %s, changes = %s, patch_digest = %s, version = version + 1, "
                "updated_at = now() where id = %s and patch_digest is null",
                (tree.head, jsonb(changes_of(found)), digest, job_id),
            )

        await perform(bench.store, principal, keep)
        if not found.empty:
            await Keeper(bench.store, bench.blobs, lease).add("changes.patch", "text/x-diff", digest, size_bytes)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
