"""This room over HTTP: list, look at and download what jobs left behind. Parse, call, shape."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field
from starlette.responses import StreamingResponse

from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.domain.artifacts import download, keep
from shopfloor.domain.artifacts.errors import RangeNotSatisfiable
from shopfloor.domain.artifacts.models import Artifact
from shopfloor.infra.blobs import BlobCorrupt, BlobMissing, BlobStore
from shopfloor.infra.tx import Store, begin
from shopfloor.infra.web.etags import cache_headers, not_modified
from shopfloor.infra.web.json_body import Reply
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1", tags=["artifacts"])

_ARTIFACTS = Keyset("artifacts", UUID)

Reader = Annotated[Principal, Depends(Require("artifact.read"))]


class ArtifactsState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    store: Store
    blobs: BlobStore


class ArtifactReply(Reply):
    """Something a job left behind."""

    id: UUID
    job_id: UUID
    run_id: UUID | None
    name: str
    media_type: str
    digest: str = Field(description="SHA-256 of the content, hex.")
    size_bytes: int
    created_at: datetime


def _state(request: Request) -> ArtifactsState:
    return cast("ArtifactsState", request.app.state.shopfloor)


@router.get("/jobs/{job_id}/artifacts")
async def list_job_artifacts(
    request: Request, job_id: UUID, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[ArtifactReply]:
    """What a job has left behind so far, oldest first."""
    filters = {"job": str(job_id)}
    keys = _ARTIFACTS.read(cursor, filters=filters)
    after = cast("UUID", keys[0]) if keys else None
    async with begin(_state(request).store, principal) as tx:
        rows = await keep.list_artifacts(tx, job_id, after=after, limit=limit + 1)
    items, following = _ARTIFACTS.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[ArtifactReply.model_validate(row) for row in items], next_cursor=following)


@router.get("/artifacts/{artifact_id}")
async def get_artifact(request: Request, artifact_id: UUID, principal: Reader) -> ArtifactReply:
    """What is known of one artifact; its bytes are at `/content`."""
    return ArtifactReply.model_validate(await _found(request, artifact_id, principal))


@router.get(
    "/artifacts/{artifact_id}/content",
    response_class=Response,
    responses={
        200: {"description": "The content.", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The part named by `Range: bytes=first-last`."},
        304: {"description": "The copy named by `If-None-Match` is the content."},
        **problems(BlobMissing, RangeNotSatisfiable, BlobCorrupt),
    },
)
async def get_artifact_content(request: Request, artifact_id: UUID, principal: Reader) -> Any:
    """Download the content. `Repr-Digest` holds its SHA-256; one `Range` at a time is served."""
    async with begin(_state(request).store, principal) as tx:
        artifact = await keep.find_artifact(tx, artifact_id)
        await tx.record_read("artifact.downloaded", "artifact", artifact_id, after={"job_id": artifact.job_id})
    etag = f'"{artifact.digest}"'
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    headers = {**download.headers_of(artifact), **cache_headers(etag)}
    asked = request.headers.get("range") if request.headers.get("if-range", etag) == etag else None
    part = download.byte_range(asked, artifact.size_bytes)
    headers["Content-Length"] = str(artifact.size_bytes if part is None else part.length)
    if part is not None:
        last = part.start + (part.length or 0) - 1
        headers["Content-Range"] = f"bytes {part.start}-{last}/{artifact.size_bytes}"
    content = await download.opened(_state(request).blobs, artifact.digest, part)
    return StreamingResponse(content, 200 if part is None else 206, headers, artifact.media_type)


async def _found(request: Request, artifact_id: UUID, principal: Principal) -> Artifact:
    async with begin(_state(request).store, principal) as tx:
        return await keep.find_artifact(tx, artifact_id)
