"""Environments over HTTP. Parse, call, shape."""

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
from shopfloor.domain.delivery.schemas import EnvironmentChange, EnvironmentNew, EnvironmentReply
from shopfloor.domain.delivery.store import ENVIRONMENTS
from shopfloor.domain.jobs.schemas import JobReply
from shopfloor.infra.web.etags import cache_headers, etag_of
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Limit, Page

router = APIRouter(prefix="/api/v1/environments", tags=["delivery"])


@router.get("", summary="List environments")
async def list_environments(
    request: Request, principal: Reader, project: OfProject = None, limit: Limit = 50, cursor: CursorText = None
) -> Page[EnvironmentReply]:
    """Those of the projects you may see, oldest first."""
    items, following = await routes.page_of(
        request, principal, ENVIRONMENTS, project=project, limit=limit, cursor=cursor
    )
    return Page(items=[EnvironmentReply.model_validate(row) for row in items], next_cursor=following)


@router.post("", status_code=201, summary="Make an environment", responses=problems(RecordNameTaken, ProjectUnknown))
async def post_environment(
    request: Request, response: Response, new: EnvironmentNew, principal: Editor
) -> EnvironmentReply:
    """Make an environment of a project."""
    made = await routes.made(request, principal, ENVIRONMENTS, new)
    response.headers.update({"Location": f"/api/v1/environments/{made.id}", **cache_headers(etag_of(made.version))})
    return EnvironmentReply.model_validate(made)


@router.get("/{environment_id}", response_model=EnvironmentReply, summary="One environment")
async def get_environment(request: Request, response: Response, environment_id: UUID, principal: Reader) -> Any:
    """One environment."""
    found = await routes.one_of(request, principal, ENVIRONMENTS, environment_id)
    return versioned(request, response, found.version, EnvironmentReply.model_validate(found))


@router.patch(
    "/{environment_id}", summary="Change an environment", responses=problems(RecordNameTaken, PreconditionFailed)
)
async def patch_environment(
    request: Request, response: Response, environment_id: UUID, change: EnvironmentChange, principal: Editor
) -> EnvironmentReply:
    """Change an environment. With `If-Match`: only if nobody changed it since."""
    changed = await routes.changed(request, principal, ENVIRONMENTS, environment_id, change)
    response.headers.update(cache_headers(etag_of(changed.version)))
    return EnvironmentReply.model_validate(changed)


@router.delete("/{environment_id}", status_code=204, summary="Remove an environment")
async def delete_environment(request: Request, environment_id: UUID, principal: Editor) -> None:
    """Remove an environment; its jobs stay."""
    await routes.removed(request, principal, ENVIRONMENTS, environment_id)


@router.get("/{environment_id}/jobs", summary="Its jobs")
async def list_environment_jobs(
    request: Request, environment_id: UUID, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[JobReply]:
    """The jobs tied to it, newest first."""
    return await routes.jobs_page(request, principal, ENVIRONMENTS, environment_id, limit=limit, cursor=cursor)


@router.put(
    "/{environment_id}/jobs/{job_id}", status_code=204, summary="Tie a job", responses=problems(JobOfAnotherProject)
)
async def put_environment_job(request: Request, environment_id: UUID, job_id: UUID, principal: Editor) -> None:
    """The job, of the same project, belongs to it."""
    await routes.tied(request, principal, ENVIRONMENTS, environment_id, job_id)


@router.delete("/{environment_id}/jobs/{job_id}", status_code=204, summary="Untie a job")
async def delete_environment_job(request: Request, environment_id: UUID, job_id: UUID, principal: Editor) -> None:
    """The job belongs to it no more."""
    await routes.untied(request, principal, ENVIRONMENTS, environment_id, job_id)
