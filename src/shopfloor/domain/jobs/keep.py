"""Where a run's long outputs and its patch are kept, for the tools and for people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shopfloor.base.ids import new_id
from shopfloor.domain.artifacts import keep
from shopfloor.domain.jobs.lease import Lease
from shopfloor.infra.blobs import BlobStore
from shopfloor.infra.tx import Store, Tx, perform

_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Keeper:
    """Implements engine/tools/context.py::Artifacts for one run."""

    store: Store
    blobs: BlobStore
    lease: Lease

    async def save(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Keep a stream under `name`; the artifact's id."""
        lease = self.lease
        artifact = await keep.save(
            self.store, lease.principal, self.blobs, chunks, job_id=lease.job_id, run_id=lease.run_id, name=name,
            media_type=_TEXT,
        )  # fmt: skip
        return str(artifact.id)

    async def add(self, name: str, media_type: str, digest: str, size_bytes: int) -> None:
        """Name a blob that is already stored."""
        artifact_id, lease = new_id(), self.lease

        async def work(tx: Tx) -> None:
            await keep.record(
                tx, artifact_id, job_id=lease.job_id, run_id=lease.run_id, name=name, media_type=media_type,
                digest=digest, size_bytes=size_bytes,
            )  # fmt: skip

        await perform(self.store, lease.principal, work)
