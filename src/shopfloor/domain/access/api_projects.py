"""Projects, and who has which role in them, over HTTP. Parse, call, shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.principal import Principal
from shopfloor.domain.access import project_grants, project_settings, projects
from shopfloor.domain.access.errors import GrantUnknown, OutOfOwnReach
from shopfloor.domain.access.http import Require, access_state
from shopfloor.domain.access.replies import ProjectName, after_id, given, tag_of, versioned
from shopfloor.domain.access.schemas import ProjectChange, ProjectNew, ProjectReply, Status, project_reply
from shopfloor.domain.access.schemas_people import GrantPut, GrantReply
from shopfloor.infra.tx import begin
from shopfloor.infra.web.etags import cache_headers, require_match
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1/projects", tags=["projects"])

_PROJECTS = Keyset("projects", UUID)
_GRANTS = Keyset("grants", UUID)

Reader = Annotated[Principal, Depends(Require("project.read"))]
Editor = Annotated[Principal, Depends(Require("project.edit"))]
Maker = Annotated[Principal, Depends(Require("project.edit", whole_organization=True))]
Owner = Annotated[Principal, Depends(Require("owner.edit", whole_organization=True))]
Granter = Annotated[Principal, Depends(Require("project.grant"))]


@router.get("")
async def list_projects(
    request: Request,
    principal: Reader,
    status: Annotated[Status | None, Query(description="Only these.")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[ProjectReply]:
    """The projects you may see, oldest first."""
    filters = {"status": status}
    keys = _PROJECTS.read(cursor, filters=filters)
    async with begin(access_state(request).store, principal) as tx:
        rows = await projects.list_projects(tx, after=after_id(keys), limit=limit + 1, status=status)
    items, following = _PROJECTS.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[project_reply(row) for row in items], next_cursor=following)


@router.post("", status_code=201, responses=problems(projects.ProjectNameTaken, OutOfOwnReach))
async def post_project(request: Request, response: Response, new: ProjectNew, principal: Maker) -> ProjectReply:
    """Make a project."""
    fields = {name: value for name, value in given(new).items() if name not in {"slug", "name"}}
    fields["settings"] = project_settings.stored(new.settings)
    async with begin(access_state(request).store, principal) as tx:
        project = await projects.create_project(tx, slug=new.slug, name=new.name, fields=fields)
    response.headers.update({"Location": f"/api/v1/projects/{project.id}", **cache_headers(tag_of(project))})
    return project_reply(project)


@router.get("/{project}", response_model=ProjectReply)
async def get_project(request: Request, response: Response, project: ProjectName, principal: Reader) -> Any:
    """One project."""
    async with begin(access_state(request).store, principal) as tx:
        found = await projects.find_project(tx, project)
    return versioned(request, response, found, project_reply(found))


@router.patch("/{project}", responses=problems(PreconditionFailed, OutOfOwnReach))
async def patch_project(
    request: Request, response: Response, project: ProjectName, change: ProjectChange, principal: Editor
) -> ProjectReply:
    """Change a project. With `If-Match`: only if nobody changed it since."""
    fields = given(change)
    if "settings" in fields:
        fields["settings"] = project_settings.stored(change.settings)
    async with begin(access_state(request).store, principal) as tx:
        found = await projects.find_project(tx, project)
        require_match(request, tag_of(found), optional=True)
        changed = await projects.change_project(tx, found, fields)
    response.headers.update(cache_headers(tag_of(changed)))
    return project_reply(changed)


@router.delete("/{project}", status_code=204, responses=problems(projects.ProjectInUse, PreconditionFailed))
async def delete_project(request: Request, project: ProjectName, principal: Editor) -> None:
    """Remove a project that never had a job; others are archived with PATCH."""
    async with begin(access_state(request).store, principal) as tx:
        found = await projects.find_project(tx, project)
        require_match(request, tag_of(found), optional=True)
        await projects.remove_project(tx, found)


@router.post("/{project}/unlock", summary="Lift who may touch it")
async def post_unlock(request: Request, project: ProjectName, principal: Owner) -> ProjectReply:
    """Take away its e-mail domains and address ranges; for owners whom they keep out. It goes on record."""
    unbound = replace(principal, user_id=None)  # else the database would hold the project back
    async with begin(access_state(request).store, unbound) as tx:
        return project_reply(await projects.unlock_project(tx, project))


@router.get("/{project}/grants", summary="List grants")
async def list_grants(
    request: Request, project: ProjectName, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[GrantReply]:
    """The roles that people and teams have in this project, oldest first."""
    filters = {"project": project}
    keys = _GRANTS.read(cursor, filters=filters)
    async with begin(access_state(request).store, principal) as tx:
        found = await projects.find_project(tx, project)
        rows = await project_grants.list_grants(tx, found, after=after_id(keys), limit=limit + 1)
    items, following = _GRANTS.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[_grant(row) for row in items], next_cursor=following)


@router.put("/{project}/grants/{holder_id}", summary="Give a role", responses=problems(GrantUnknown))
async def put_grant(
    request: Request, project: ProjectName, holder_id: UUID, new: GrantPut, principal: Granter
) -> GrantReply:
    """Give a member or a team a role in this project, in place of the one they have there. At most what you may."""
    async with begin(access_state(request).store, principal) as tx:
        found = await projects.find_project(tx, project)
        return _grant(await project_grants.put_grant(tx, found, holder_id, new.role))


@router.delete("/{project}/grants/{holder_id}", status_code=204, summary="Take a role back")
async def delete_grant(request: Request, project: ProjectName, holder_id: UUID, principal: Granter) -> None:
    """From the commit on they have it no more."""
    async with begin(access_state(request).store, principal) as tx:
        found = await projects.find_project(tx, project)
        await project_grants.remove_grant(tx, found, holder_id)


def _grant(row: Any) -> GrantReply:
    return GrantReply(**{name: getattr(row, name) for name in GrantReply.model_fields})
