"""Where a run's long outputs and its patch are kept: blob first, then the row that names it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.jobs.lease import Lease
from shopfloor.infra.blobs import BlobStore
from shopfloor.infra.tx import Store, Tx, perform


@dataclass(frozen=True, slots=True)
class Keeper:
    """Implements engine/tools/context.py::Artifacts for one run."""

    store: Store
    blobs: BlobStore
    lease: Lease

    async def save(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Keep a stream under `name`; the artifact's id."""
        blob = await self.blobs.put(chunks)
        return str(await self.add(name, "text/plain; charset=utf-8", blob.digest, blob.size_bytes))

    async def add(self, name: str, media_type: str, digest: str, size_bytes: int) -> UUID:
        """Name a blob that is already stored."""
        artifact_id, lease = new_id(), self.lease

        async def work(tx: Tx) -> None:
            await tx.execute(
                "insert into artifacts (id, organization_id, job_id, run_id, name, media_type, digest, size_bytes) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (id) do nothing",
                (artifact_id, tx.organization_id, lease.job_id, lease.run_id, name, media_type, digest, size_bytes),
            )

        await perform(self.store, lease.principal, work)
        return artifact_id
