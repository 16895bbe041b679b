"""Keep an artifact and find it again: the blob first, then the row that names it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from uuid import UUID

from shopfloor.base.errors import InvalidInput
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.artifacts import store
from shopfloor.domain.artifacts.errors import ArtifactJobNotFound, ArtifactNotFound
from shopfloor.domain.artifacts.models import Artifact
from shopfloor.infra.blobs import BlobStore
from shopfloor.infra.tx import Store, Tx, perform

MAX_NAME_CHARS = 512
OCTETS = "application/octet-stream"
_TOKEN = r"[A-Za-z0-9!#$&^_.+-]{1,64}"  # noqa: S105 - RFC 9110's word for a name, no secret
_MEDIA_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(; ?{_TOKEN}=({_TOKEN}|"[\w .:-]{{0,64}}"))*')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


async def save(
    database: Store,
    principal: Principal,
    blobs: BlobStore,
    chunks: AsyncIterator[bytes],
    *,
    job_id: UUID,
    name: str,
    media_type: str = OCTETS,
    run_id: UUID | None = None,
    max_bytes: int | None = None,
) -> Artifact:
    """Keep a stream; durable when this returns. No transaction is open while it flows.

    Raises: InvalidInput for a name that can't be one, BlobTooLarge, BlobStoreFull, DatabaseUnavailable. Then there is
    no row; a blob that stayed behind without one is found by the sweep.
    """
    _check_name(name)
    blob = await blobs.put(chunks, max_bytes=max_bytes)
    artifact_id = new_id()  # outside `work`: a second try writes the same row

    async def work(tx: Tx) -> Artifact:
        return await record(
            tx,
            artifact_id,
            job_id=job_id,
            run_id=run_id,
            name=name,
            media_type=media_type,
            digest=blob.digest,
            size_bytes=blob.size_bytes,
        )

    return await perform(database, principal, work)


async def record(
    tx: Tx,
    artifact_id: UUID,
    *,
    job_id: UUID,
    name: str,
    media_type: str,
    digest: str,
    size_bytes: int,
    run_id: UUID | None = None,
) -> Artifact:
    """Name a blob that is already stored. Doing it again with the same id changes nothing. Raises: InvalidInput."""
    _check_name(name)
    kind = media_type if _MEDIA_TYPE.fullmatch(media_type) else OCTETS
    new = Artifact(artifact_id, job_id, run_id, name, kind, digest, size_bytes, tx.clock.now())
    await store.add(tx, new)
    kept = await store.artifact(tx, artifact_id)
    return kept or new


async def find_artifact(tx: Tx, artifact_id: UUID) -> Artifact:
    """Raises: ArtifactNotFound."""
    found = await store.artifact(tx, artifact_id)
    if found is None:
        raise ArtifactNotFound(f"There is no artifact {artifact_id}, or none that you may see.")
    return found


async def list_artifacts(tx: Tx, job_id: UUID, *, after: UUID | None, limit: int) -> list[Artifact]:
    """Oldest first. Raises: ArtifactJobNotFound."""
    if not await store.has_job(tx, job_id):
        raise ArtifactJobNotFound(f"There is no job {job_id}, or none that you may see.")
    return await store.artifacts(tx, job_id, after=after, limit=limit)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME_CHARS or _CONTROL.search(name):
        raise InvalidInput(f"An artifact's name is 1 to {MAX_NAME_CHARS} characters without control characters.")
