"""Releases over HTTP. Parse, call, shape."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.domain.access.projects import ProjectUnknown
from shopfloor.domain.access.replies import versioned
from shopfloor.domain.delivery import routes
from shopfloor.domain.delivery.errors import JobOfAnotherProject, RecordNameTaken
from shopfloor.domain.delivery.routes import Editor, OfProject, Reader
from shopfloor.domain.delivery.schemas import ReleaseChange, ReleaseNew, ReleaseReply
from shopfloor.domain.delivery.store import RELEASES
from shopfloor.domain.jobs.schemas import JobReply
from shopfloor.infra.web.etags import cache_headers, etag_of
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Limit, Page

router = APIRouter(prefix="/api/v1/releases", tags=["delivery"])


@router.get("", summary="List releases")
async def list_releases(
    request: Request, principal: Reader, project: OfProject = None, limit: Limit = 50, cursor: CursorText = None
) -> Page[ReleaseReply]:
    """Those of the projects you may see, oldest first."""
    items, following = await routes.page_of(request, principal, RELEASES, project=project, limit=limit, cursor=cursor)
    return Page(items=[ReleaseReply.model_validate(row) for row in items], next_cursor=following)


@router.post("", status_code=201, summary="Make a release", responses=problems(RecordNameTaken, ProjectUnknown))
async def post_release(request: Request, response: Response, new: ReleaseNew, principal: Editor) -> ReleaseReply:
    """Make a release of a project."""
    made = await routes.made(request, principal, RELEASES, new)
    response.headers.update({"Location": f"/api/v1/releases/{made.id}", **cache_headers(etag_of(made.version))})
    return ReleaseReply.model_validate(made)


@router.get("/{release_id}", response_model=ReleaseReply, summary="One release")
async def get_release(request: Request, response: Response, release_id: UUID, principal: Reader) -> Any:
    """One release."""
    found = await routes.one_of(request, principal, RELEASES, release_id)
    return versioned(request, response, found.version, ReleaseReply.model_validate(found))


@router.patch("/{release_id}", summary="Change a release", responses=problems(RecordNameTaken, PreconditionFailed))
async def patch_release(
    request: Request, response: Response, release_id: UUID, change: ReleaseChange, principal: Editor
) -> ReleaseReply:
    """Change a release. With `If-Match`: only if nobody changed it since."""
    changed = await routes.changed(request, principal, RELEASES, release_id, change)
    response.headers.update(cache_headers(etag_of(changed.version)))
    return ReleaseReply.model_validate(changed)


@router.delete("/{release_id}", status_code=204, summary="Remove a release")
async def delete_release(request: Request, release_id: UUID, principal: Editor) -> None:
    """Remove a release; its jobs stay."""
    await routes.removed(request, principal, RELEASES, release_id)


@router.get("/{release_id}/jobs", summary="Its jobs")
async def list_release_jobs(
    request: Request, release_id: UUID, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[JobReply]:
    """The jobs tied to it, newest first."""
    return await routes.jobs_page(request, principal, RELEASES, release_id, limit=limit, cursor=cursor)


@router.put(
    "/{release_id}/jobs/{job_id}", status_code=204, summary="Tie a job", responses=problems(JobOfAnotherProject)
)
async def put_release_job(request: Request, release_id: UUID, job_id: UUID, principal: Editor) -> None:
    """The job, of the same project, belongs to it."""
    await routes.tied(request, principal, RELEASES, release_id, job_id)


@router.delete("/{release_id}/jobs/{job_id}", status_code=204, summary="Untie a job")
async def delete_release_job(request: Request, release_id: UUID, job_id: UUID, principal: Editor) -> None:
    """The job belongs to it no more."""
    await routes.untied(request, principal, RELEASES, release_id, job_id)
