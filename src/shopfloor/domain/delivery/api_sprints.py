"""Sprints over HTTP. Parse, call, shape."""

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
from shopfloor.domain.delivery.schemas import SprintChange, SprintNew, SprintReply
from shopfloor.domain.delivery.store import SPRINTS
from shopfloor.domain.jobs.schemas import JobReply
from shopfloor.infra.web.etags import cache_headers, etag_of
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Limit, Page

router = APIRouter(prefix="/api/v1/sprints", tags=["delivery"])


@router.get("", summary="List sprints")
async def list_sprints(
    request: Request, principal: Reader, project: OfProject = None, limit: Limit = 50, cursor: CursorText = None
) -> Page[SprintReply]:
    """Those of the projects you may see, oldest first."""
    items, following = await routes.page_of(request, principal, SPRINTS, project=project, limit=limit, cursor=cursor)
    return Page(items=[SprintReply.model_validate(row) for row in items], next_cursor=following)


@router.post("", status_code=201, summary="Make a sprint", responses=problems(RecordNameTaken, ProjectUnknown))
async def post_sprint(request: Request, response: Response, new: SprintNew, principal: Editor) -> SprintReply:
    """Make a sprint of a project."""
    made = await routes.made(request, principal, SPRINTS, new)
    response.headers.update({"Location": f"/api/v1/sprints/{made.id}", **cache_headers(etag_of(made.version))})
    return SprintReply.model_validate(made)


@router.get("/{sprint_id}", response_model=SprintReply, summary="One sprint")
async def get_sprint(request: Request, response: Response, sprint_id: UUID, principal: Reader) -> Any:
    """One sprint."""
    found = await routes.one_of(request, principal, SPRINTS, sprint_id)
    return versioned(request, response, found.version, SprintReply.model_validate(found))


@router.patch("/{sprint_id}", summary="Change a sprint", responses=problems(RecordNameTaken, PreconditionFailed))
async def patch_sprint(
    request: Request, response: Response, sprint_id: UUID, change: SprintChange, principal: Editor
) -> SprintReply:
    """Change a sprint. With `If-Match`: only if nobody changed it since."""
    changed = await routes.changed(request, principal, SPRINTS, sprint_id, change)
    response.headers.update(cache_headers(etag_of(changed.version)))
    return SprintReply.model_validate(changed)


@router.delete("/{sprint_id}", status_code=204, summary="Remove a sprint")
async def delete_sprint(request: Request, sprint_id: UUID, principal: Editor) -> None:
    """Remove a sprint; its jobs stay."""
    await routes.removed(request, principal, SPRINTS, sprint_id)


@router.get("/{sprint_id}/jobs", summary="Its jobs")
async def list_sprint_jobs(
    request: Request, sprint_id: UUID, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[JobReply]:
    """The jobs tied to it, newest first."""
    return await routes.jobs_page(request, principal, SPRINTS, sprint_id, limit=limit, cursor=cursor)


@router.put("/{sprint_id}/jobs/{job_id}", status_code=204, summary="Tie a job", responses=problems(JobOfAnotherProject))
async def put_sprint_job(request: Request, sprint_id: UUID, job_id: UUID, principal: Editor) -> None:
    """The job, of the same project, belongs to it."""
    await routes.tied(request, principal, SPRINTS, sprint_id, job_id)


@router.delete("/{sprint_id}/jobs/{job_id}", status_code=204, summary="Untie a job")
async def delete_sprint_job(request: Request, sprint_id: UUID, job_id: UUID, principal: Editor) -> None:
    """The job belongs to it no more."""
    await routes.untied(request, principal, SPRINTS, sprint_id, job_id)
